"""Sound → what the nets attend to.

mel              Whisper's spectrogram, batched
speech           tokens, the published way and the streaming way
feature_packing  a frame's features as one array
silence_gate     in silence the source picture is shown
recording        sound files, for parity and reports
"""
