"""How the viseme net is made: speech with known phonemes, noise, a fit, and the report.

recipe                  corpus, fit, weights
corpus, sentences       who speaks what, and what is only ever evaluated on
speech, espeak_library  espeak-ng and flite, with phoneme times
neural, onnx_voice      natural voices, with theirs
phonetics               from timed phonemes to the mouth
augmentation, sounds    rooms, noise, music
disturbances, opus      steps of level, bangs, calls
fit, head               the fit of the net, and of its last layer alone
added                   two outputs that are fitted after the others
evaluation, robustness  voices and sentences it never heard; changes of level
scores, report          the numbers, and docs/visemes.md
"""
