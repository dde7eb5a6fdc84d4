-- name: copied_by_app
-- question: From which apps do I copy?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
SELECT user_id, coalesce(source_app, 'unknown') AS app, count(*) AS copies
FROM am.digital_clipboard_raw
WHERE ts >= :begin AND ts < :end
GROUP BY 1, 2
ORDER BY user_id, copies DESC, app
