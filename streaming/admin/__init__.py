"""What staff see of sessions.

sessions   the history, what live ones show, and their end
processes  who serves them, and no more new ones
usage      minutes by user and day
audit      who did what in the admin
csv_export rows for spreadsheets
"""

from streaming.admin import audit as audit
from streaming.admin import processes as processes
from streaming.admin import sessions as sessions
