-- name: devices_last_seen
-- question: When did each device last send what?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
SELECT user_id, device_id, kind, max(ts) AS last_ts, count(*) AS events
FROM am.timeline
WHERE ts >= :begin AND ts < :end
GROUP BY 1, 2, 3
ORDER BY user_id, device_id, kind
