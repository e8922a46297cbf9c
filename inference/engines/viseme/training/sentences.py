"""What is said: sentences to train on, and the ones that are only ever evaluated on.

Training sentences are everyday words in random order, mixed with words that do not exist, spelled
from syllables: sense does not move a mouth, and made-up words bring sound sequences that few real
ones have. The evaluation sentences are ordinary prose.
"""

import tomllib
from functools import cache
from pathlib import Path
from random import Random

HELD_OUT_ENGLISH = (
    "The boat drifted past the bridge while the children waved from the bank.",
    "Nobody remembers who painted the small blue door at the end of the lane.",
    "My brother bought a pair of brown boots and complained about the price.",
    "Please put the paper cups back in the box before my mother comes home.",
    "It rained for eleven days, and then the whole valley smelled of apples.",
    "We could hear a piano somewhere above the bakery, playing the same tune.",
    "Five hungry foxes fought over half a fish behind the village hall.",
    "She thought the third theory was worth more than the other two together.",
    "You should choose the cheese yourself, the shop shuts at half past six.",
    "Bob, may I borrow your map? Mine is at the bottom of my bag.",
    "The moon was so bright that we read the whole book without a lamp.",
    "A good answer is short, true, and easy to remember afterwards.",
    "Many people believe that owls are wise, but mostly they are patient.",
    "Her voice was calm, although her hands were shaking under the table.",
    "Pull the rope slowly, push the pump twice, and wait for the bubbles.",
    "How now, said the farmer, who let the cow out onto the road again?",
    "The museum opens at ten, except on Mondays, when it does not open at all.",
    "I would rather walk in the wind than wait for the bus in the warm.",
)

HELD_OUT_SPANISH = (
    "Buenos días, me gustaría comprar un poco de pan y una botella de agua.",
    "Mi abuela vivía en un pueblo pequeño, muy cerca del mar.",
    "El problema no es el precio, sino el tiempo que perdemos cada mañana.",
    "Ayer por la tarde vimos una película sobre un barco y un perro valiente.",
    "¿Puedes abrir la ventana? Hace mucho calor en esta habitación.",
    "Los niños jugaban al fútbol en la plaza mientras llovía suavemente.",
    "Nunca había probado una sopa tan buena como la de aquel hombre.",
    "Cuando termine la música, todo el mundo volverá a su casa.",
    "La profesora explicó por qué la luna cambia de forma cada noche.",
    "Una mariposa blanca volaba por encima de las flores del jardín.",
)

_SYLLABLES = """
onsets p b m t d n k g f v s sh ch j l r w y h th z pl bl br pr tr dr st sp sm fl fr kr gl
nuclei a e i o u ee oo ou ai oi ar er or aw ow
codas p b m t d n k s sh l r f v z ng mp nt st
"""
_ONSETS, _NUCLEI, _CODAS = (line.split()[1:] for line in _SYLLABLES.split("\n")[1:-1])
_SPELLED_AS_ENGLISH = ("en", "de", "it", "nl", "id", "pt-br")


@cache
def _words() -> dict[str, list[str]]:
    text = (Path(__file__).parent / "words.toml").read_text(encoding="utf-8")
    return {language: words.split() for language, words in tomllib.loads(text).items()}


def languages() -> list[str]:
    """Return the languages there are words for, English first."""
    return list(_words())


def training_sentence(language: str, random: Random) -> str:
    """Return a few words, with a comma now and then, and an end."""
    words = _words()[language]
    may_invent = language in _SPELLED_AS_ENGLISH
    spoken = [
        _invented_word(random) if may_invent and random.random() < 0.25 else random.choice(words)
        for _ in range(random.randint(4, 10))
    ]
    if random.random() < 0.4:
        place = random.randrange(len(spoken) - 1)
        spoken[place] += ","
    sentence = " ".join(spoken).capitalize() + random.choice("...?!")
    assert sentence not in HELD_OUT_ENGLISH
    assert sentence not in HELD_OUT_SPANISH
    return sentence


def _invented_word(random: Random) -> str:
    return "".join(
        random.choice(_ONSETS) + random.choice(_NUCLEI) + random.choice([*_CODAS, "", "", ""])
        for _ in range(random.randint(1, 3))
    )
