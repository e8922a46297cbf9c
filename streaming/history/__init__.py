"""What is recorded of sessions.

writer          a thread that writes rows
session_events  … and the webhooks that go with them
retention       deletes what is older than HISTORY_DAYS
days            sessions by the days on which they began
usage_chart     the chart in the admin
"""
