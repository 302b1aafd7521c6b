"""The `delamo` command: one file for each verb, and the table of them."""
