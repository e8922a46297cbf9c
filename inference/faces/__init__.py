"""Face detection.

detector  where faces are
mesh      468 landmarks of one face
tflite    runs the two nets
"""
