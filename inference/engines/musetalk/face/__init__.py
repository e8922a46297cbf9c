"""Pictures of faces, before and behind the nets.

boxes            where the face is generated and where it is blended
latents          what the UNet takes of a picture
masks            which pixels are replaced
reference_blend  the published way, byte for byte, on the CPU
device_blend     a batch on the device, in I420
"""
