"""Pictures and sound, at the lowest level.

types         pictures, patches, audio windows
profile       size and H.264 parameters
compositor    pastes patches, cross-fades
encoder       H.264 access units
quantization  how finely they are quantized
still         one of them as a JPEG
resampling    streaming sample-rate conversion to 16 kHz
"""
