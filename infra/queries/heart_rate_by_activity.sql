-- name: heart_rate_by_activity
-- question: How fast does my heart beat, by what I do?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
SELECT beat.user_id, coalesce(activity.activity, 'unknown') AS activity, count(*) AS beats,
    round(avg(beat.bpm), 1) AS mean_bpm, max(beat.bpm) AS highest_bpm
FROM am.device_health_heartrate_raw AS beat
LEFT JOIN am.motion_classification_activity AS activity
    ON activity.user_id = beat.user_id AND beat.ts >= activity.ts AND beat.ts < activity.end_ts
    AND activity.ts >= :begin AND activity.ts < :end
WHERE beat.ts >= :begin AND beat.ts < :end
GROUP BY 1, 2
ORDER BY 1, 2
