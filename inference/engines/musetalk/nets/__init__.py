"""The networks in plain torch: the published arithmetic, arranged for speed.

Parameter names are the published ones wherever a tensor is used as it is; where several are folded
into one (a constant timestep, queries with keys and values) a function beside the net says how.
All take and give channels-last tensors happily, none has a branch that depends on values, and the
shapes of one batch size never change: fit for graph capture.

unet           the UNet at its one timestep
vae            the image autoencoder
tiny_decoder   a decoder of a twelfth of its work
whisper        the encoder of sound
face_parsing   face parts, for the blend mask
configs        what the config of a published net must say
published      what the file of a published net must hold
blocks         what UNet and VAE share
attention      the fastest attention for each shape
upsampling     nearest neighbor and a convolution as one
operations     what the blocks are made of beside products
fused, kernels the same as Triton kernels
moments        kept by one kernel for the norm of the next
choice         which kernels run on a device, as measured
device_time    what a call takes there
"""
