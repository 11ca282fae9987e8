"""Contrasts of what people say of things in photographs, after appendix F.1: 80 pairs in 9 groups.

A contrast has two poles, and a pole is a set of synonyms: "open, opened" against "closed, shut". The paper's
sets are not in our copy; these are our own, written before any count was seen.

No word stands in two poles, so a word has one slot (`SLOTS`) and `relevance.synonym` takes all poles at once.
The price: a word is taken in one sense. "old" is against "young", and a car that is no longer new is "worn".
"""

from __future__ import annotations

Pole = tuple[str, ...]

OTHER = "attribute"  # the slot of words that are in no pole

_GROUPS = {
    "colour": """
        black, jet black | white, off white, snow white
        red, bright red, dark red | green, bright green
        blue, bright blue, royal blue | orange, bright orange
        yellow, bright yellow | purple, violet, lavender
        brown | pink, hot pink, light pink
        gray, grey | beige, tan, cream, cream colored
        silver, silver colored | gold, golden, gold colored
        light blue, sky blue, baby blue | dark blue, navy, navy blue
        light brown | dark brown
        light green, lime green | dark green, olive green
        light gray, light grey | dark gray, dark grey
        maroon, burgundy | teal, turquoise, aqua
        colorful, colourful, multicolored, multi-colored, multi colored | monochrome, black and white
        dark, dark colored | light, light colored, pale
    """,
    "state": """
        open, opened | closed, shut
        on, turned on, lit, lit up, illuminated | off, turned off, unlit
        full, filled | empty, vacant
        clean, spotless | dirty, filthy, grimy, stained, muddy
        wet, damp, soaked, moist | dry, dried
        new, brand new, modern | worn, worn out, used, weathered
        broken, cracked, damaged, shattered, chipped | intact, unbroken, undamaged
        cooked, baked, grilled, fried, roasted, toasted | raw, uncooked
        ripe | unripe
        fresh | rotten, stale, wilted, withered
        sliced, cut, chopped, diced | whole, uncut, unsliced
        parked, stationary | moving, driving, in motion
        folded, folded up | unfolded, spread out
        tied, tied up | untied, loose
        neat, tidy, organized, made | messy, cluttered, disorganized, unmade
        frozen, icy | melted, melting, thawed
        covered | uncovered, exposed
    """,
    "texture": """
        smooth | rough, coarse
        striped, stripes | solid, solid colored, plain
        soft, cushioned, padded | hard, firm
        furry, fuzzy, hairy, fluffy | hairless, shaved, shorn
        shiny, glossy, polished | dull, matte
        wrinkled, wrinkly, creased, crumpled | pressed, ironed, unwrinkled
        checkered, checked, plaid | dotted, polka dot, polka dotted, spotted
        patterned, printed, floral | unpatterned, blank
        bumpy, ribbed, grooved, textured | even, level
    """,
    "shape": """
        round, circular, rounded | square, squared
        curved, curvy, bent, arched | straight
        flat | raised, domed, bulging
        pointed, pointy, sharp | blunt
        triangular, triangle | rectangular, rectangle
        oval, oval shaped | octagonal, hexagonal
        cylindrical, tubular | boxy, cubic, box shaped
        vertical | horizontal
    """,
    "environment": """
        cloudy, overcast, partly cloudy | clear, cloudless
        sunny, sunlit, bright | shady, shaded, shadowed
        snowy, snow covered, snow-covered | grassy, grass covered
        calm, still, placid | choppy, wavy, rippled
        crowded, busy | deserted, uncrowded, quiet
        paved, asphalt | unpaved, gravel
        leafy, lush | leafless, bare, barren
        indoor, indoors, inside | outdoor, outdoors, outside
    """,
    "size": """
        large, big, huge, giant | small, little, tiny
        tall, high | short, low
        long, elongated | stubby, stumpy
        wide, broad | narrow
        thick | thin
        deep | shallow
    """,
    "pose": """
        standing, standing up | sitting, seated, sitting down
        walking, strolling | running, jogging
        lying, laying, lying down, laying down | crouching, crouched, squatting
        flying, airborne, in flight | perched, landed, grounded
        asleep, sleeping | awake, alert
        outstretched, extended, stretched out | crossed, tucked
        hanging, suspended, dangling | leaning, propped up
    """,
    "human": """
        young, youthful | old, elderly, aged
        male | female
        happy, smiling, laughing, grinning | sad, frowning, crying, unhappy
        bearded, unshaven | clean shaven, clean-shaven
        long haired, long-haired | short haired, short-haired
        shirtless, topless | clothed, dressed
    """,
    "material": """
        wooden, wood | metal, metallic, steel, iron, aluminum
        glass | plastic
        leather | cloth, fabric, cotton
        stone, concrete, cement | brick, bricked
        paper, cardboard | ceramic, porcelain
    """,
}


def _poles(line: str) -> tuple[Pole, Pole]:
    source, target = (tuple(word.strip() for word in pole.split(",")) for pole in line.split("|"))
    return source, target


def _named(lines: str) -> dict[str, tuple[Pole, Pole]]:
    """Every contrast by the first words of its poles."""
    pairs = [_poles(line) for line in lines.strip().splitlines()]
    return {f"{source[0]}/{target[0]}": (source, target) for source, target in pairs}


# Slot -> its two poles, as `steering` takes them.
CONTRASTS = {slot: poles for lines in _GROUPS.values() for slot, poles in _named(lines).items()}
SLOTS = {word: slot for slot, poles in CONTRASTS.items() for pole in poles for word in pole}
