"""The make-up of the pool and the targets: kinds of question, shares and wordings, as data."""

from __future__ import annotations

from dataclasses import dataclass

from delamo.data.microworld.questions import KINDS


@dataclass(frozen=True, slots=True)
class Target:
    """A target task: a mixture of kinds in one setting."""

    setting: str
    """The words that open every question of the target."""
    shares: dict[str, float]
    """Kind -> share; about half of each target needs a skill that the embedded student lacks."""
    multiple_choice: bool = True


@dataclass(frozen=True, slots=True)
class Family:
    """A task family of the pool, as Vision-Flan has 187."""

    kind: str
    setting: str
    weight: float
    related: str | None = None
    """The target that needs this family's first skill; the family takes on the target's wording with probability
    `surface_overlap`."""
    decoy: str | None = None
    """A target that does *not* need it; the family takes on that target's setting with probability
    1 - `surface_overlap`."""
    multiple_choice: bool = True

    @property
    def skills(self) -> tuple[str, ...]:
        """The planted skills that the family's questions need."""
        return KINDS[self.kind].skills


TARGETS: dict[str, Target] = {
    "objects": Target("Toy shelf: look at the toys.", {"colour_of": 0.25, "shape_at": 0.25, "size_of": 0.5}),
    "surfaces": Target("Paint desk: look at the samples.", {"colour_of": 0.2, "shape_of_colour": 0.3, "fill_of": 0.5}),
    "frames": Target("Gallery wall: look at the exhibits.", {"place_of": 0.25, "count_all": 0.25, "frame_of": 0.5}),
    "layout": Target("Floor plan: look at the layout.", {"horizontal": 0.3, "place_of": 0.2, "vertical": 0.5}),
    "numbers": Target(
        "Number cards: look at the cards.", {"digit_value": 0.3, "compare_numbers": 0.2, "parity_of": 0.5}
    ),
    "compare": Target(
        "Sorting game: look at the pieces.", {"same_colour": 0.25, "odd_one_out": 0.25, "compare_sizes": 0.5}
    ),
    "open": Target(
        "Quick quiz: look at the picture.",
        {"colour_of": 0.2, "digit_value": 0.2, "count_all": 0.1, "size_of": 0.25, "fill_of": 0.25},
        multiple_choice=False,
    ),
}

# Weights are per cent of the pool. The families of one block need the skill that the block names first.
FAMILIES: dict[str, Family] = {
    # colour, shape
    "dye_works": Family("colour_of", "Dye works record.", 6, decoy="surfaces"),
    "toy_paint": Family("colour_of", "Nursery report.", 4, decoy="objects", multiple_choice=False),
    "lost_property": Family("shape_at", "Lost property list.", 6, decoy="frames"),
    "jigsaw": Family("shape_at", "Jigsaw notes.", 4, decoy="objects"),
    "wardrobe": Family("shape_of_colour", "Wardrobe plan.", 5, decoy="open"),
    # place, horizontal
    "treasure_map": Family("place_of", "Treasure map.", 5, decoy="layout"),
    "parking": Family("place_of", "Parking guide.", 3, decoy="objects"),
    "seating": Family("horizontal", "Seating chart.", 5, decoy="layout"),
    "street_view": Family("horizontal", "Street survey.", 4, decoy="numbers"),
    # numbers
    "postcode": Family("digit_value", "Postcode desk.", 5, decoy="numbers"),
    "house_numbers": Family("digit_value", "House numbers.", 3, decoy="open", multiple_choice=False),
    "scoreboard": Family("compare_numbers", "Score board.", 4, decoy="numbers"),
    # count
    "stock_take": Family("count_all", "Stock take.", 4, decoy="compare"),
    "bird_count": Family("count_all", "Field count.", 3, decoy="frames", multiple_choice=False),
    "paint_tally": Family("count_colour", "Colour tally.", 4, decoy="surfaces"),
    # same or different, odd one out
    "matching": Family("same_colour", "Matching pairs.", 4, decoy="compare"),
    "quality_line": Family("odd_one_out", "Quality line.", 4, decoy="compare"),
    # captions
    "album": Family("describe", "Photo album.", 2, multiple_choice=False),
    "press_agency": Family("describe", "Press desk.", 2, multiple_choice=False),
    # size
    "storage": Family("size_of", "Storage notes.", 2.5, related="objects"),
    "parcel_desk": Family("size_of", "Parcel desk.", 1, related="open", multiple_choice=False),
    "freight": Family("count_size", "Freight list.", 1, related="objects"),
    "tailor": Family("same_size", "Tailor log.", 1, related="objects"),
    # fill
    "pottery": Family("fill_of", "Pottery class.", 2.5, related="surfaces"),
    "print_shop": Family("fill_of", "Print shop.", 1, related="open", multiple_choice=False),
    "bakery": Family("count_fill", "Bakery sheet.", 1, related="surfaces"),
    "stencil": Family("place_of_hollow", "Stencil work.", 1, related="surfaces"),
    # frame
    "restorer": Family("frame_of", "Restorer file.", 3, related="frames"),
    "auction": Family("count_frame", "Auction sheet.", 1, related="frames"),
    "exhibition": Family("colour_of_framed", "Hanging plan.", 1, related="frames"),
    # vertical
    "climbing": Family("vertical", "Climbing route.", 3.5, related="layout"),
    "shelving": Family("shape_below", "Shelving plan.", 1, related="layout"),
    # parity
    "raffle": Family("parity_of", "Raffle desk.", 3.5, related="numbers"),
    "dice_club": Family("parity_of_larger", "Dice club.", 1, related="numbers"),
    # compare sizes
    "market": Family("compare_sizes", "Market stall.", 3, related="compare"),
    "fruit_grading": Family("colour_of_bigger", "Fruit grading.", 1, related="compare"),
}
