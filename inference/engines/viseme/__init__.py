"""The default engine: sound → mouth shape by a small net → the mouth drawn or warped on a CPU.

engine        joins the parts
features      sound to log-mels
net           four causal convolutions in numpy; its weights are `weights.npz`
hearing       what two windows of a session share is computed once
silence_gate  shut in silence, whatever the net says
shape         the mouth shape, the common language of net and renderers
renderers     a mouth on a picture: drawn, or warped
emphasis      brows, a nod, a blink, after the melody of the speech
training      how the net is made; a tool
"""
