-- name: resting_heart_rate_per_day
-- question: How fast does my heart beat while I sleep, day by day?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
SELECT beat.user_id, CAST(at_timezone(beat.ts, :zone) AS date) AS day, count(*) AS beats,
    round(avg(beat.bpm), 1) AS mean_bpm
FROM am.device_health_heartrate_raw AS beat
JOIN am.device_health_sleep_raw AS sleep
    ON sleep.user_id = beat.user_id AND sleep.sleep_stage <> 'awake' AND beat.ts >= sleep.ts
    AND to_unixtime(beat.ts) < to_unixtime(sleep.ts)
        + coalesce(sleep.duration_s, sleep.duration_ms / 1000)
    AND sleep.ts >= :begin AND sleep.ts < :end
WHERE beat.ts >= :begin AND beat.ts < :end
GROUP BY 1, 2
ORDER BY user_id, day
