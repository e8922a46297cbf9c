"""What the published pipeline of MuseTalk 1.5 fixes. Changing any of these leaves parity."""

SAMPLE_RATE_HZ = 16_000
SEGMENT_SAMPLES = 480_000
"""The reference encodes sound in pieces of 30 s, each alone."""
MEL_BINS = 80
MEL_FFT = 400
MEL_HOP = 160
MEL_FLOOR = 1e-10
MEL_RANGE_LOG10 = 8.0
"""Mel values are raised to at least the segment's maximum minus this."""
FEATURE_RATE_HZ = 50
SAMPLES_PER_FEATURE = SAMPLE_RATE_HZ // FEATURE_RATE_HZ
HIDDEN_STATES = 5
"""Inputs of the four Whisper blocks, and the last one's output after the final norm."""
FEATURES_PER_FRAME = 10
FEATURES_BEFORE = 4
"""A frame at 25 fps hears its own two features, and 4 on either side of them."""
TOKENS = FEATURES_PER_FRAME * HIDDEN_STATES

FACE_SIZE = 256
LATENT_SIZE = 32
LATENT_CHANNELS = 4
LATENT_SCALE = 0.18215
"""The library's default; the published VAE config does not name it."""
UNET_TIMESTEP = 0
MARGIN_BOTTOM_PX = 10

CROP_EXPAND = 1.5
UPPER_BOUNDARY_RATIO = 0.5
BLUR_RATIO_OFFLINE = 0.05
BLUR_RATIO_REALTIME = 0.1
PARSING_SIZE = 512
PARSING_CLASSES = 19
PARSING_MEAN = (0.485, 0.456, 0.406)
PARSING_STD = (0.229, 0.224, 0.225)
SKIN, NOSE, MOUTH, UPPER_LIP, LOWER_LIP, NECK = 1, 10, 11, 12, 13, 14
CHEEK_LEFT_COLUMN = 167
CHEEK_RIGHT_COLUMN = 345
"""Between these columns of the parsing map, inclusive, the jaw mask is dilated; outside, eroded."""
