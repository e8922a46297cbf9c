"""The engine room: it owns sessions, keeps their time and makes their pictures."""
