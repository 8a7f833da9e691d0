-- Messages about alerts that a channel has not taken, or was given up on in the last week.
SELECT
    delivery.channel,
    message.message ->> 'title' AS title,
    delivery.attempts,
    delivery.error_message,
    delivery.next_attempt_at,
    delivery.given_up_at
FROM bronze.alert_deliveries AS delivery
JOIN bronze.alert_messages AS message USING (message_id)
WHERE delivery.delivered_at IS NULL AND delivery.attempts > 0
    AND (delivery.given_up_at IS NULL OR delivery.given_up_at > clock_timestamp() - interval '7 days')
ORDER BY delivery.given_up_at IS NOT NULL, delivery.next_attempt_at
LIMIT 20
