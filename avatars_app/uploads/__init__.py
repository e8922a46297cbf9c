"""What was sent to be an avatar.

body_limits how large a body may be
admission   which large bodies are read at all
storage     what was sent, on disk
"""
