"""Readers of data sets as their authors publish them: one module a data set, and every one returns scenes.

    from geoclip_lite.datasets.official import urban1k

    reading = urban1k.read("data/urban1k/Urban1k", missing="skip")
    print(reading)                      # how many scenes, what was left out and why
    gallery = Gallery.of_images(encoder, reading.gallery())

    coco           COCO 2017: five captions a picture
    sugarcrepe     SugarCrepe: a caption and a wrong one that differs in little
    visual_genome  Visual Genome: objects, attributes and relations; `vocabulary` has its contrasts
    urban1k        Urban1k: one long caption a picture
    clevr          CLEVR, CLEVR-HOPE and whatever else is written in CLEVR's schema
    mit_states     MIT-States: nouns in states
    nac            nouns and attributes in contrast, generated pictures described by JSON lines

Files are read from a folder that you name; `python -m geoclip_lite.datasets get urban1k` fills one. Pictures
are opened when a scene is drawn. What is damaged or missing is named, and refused or skipped, as you choose.
"""

from geoclip_lite.datasets.official.reading import Missing, Reading

__all__ = ["Missing", "Reading"]
