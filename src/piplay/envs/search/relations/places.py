"""What prose says of places: where they are, what they border on, how large they are."""

from __future__ import annotations

from piplay.envs.search.relations.patterns import Relation

PLACES = (
    Relation(
        "capital",
        "What is the capital of {}?",
        "capital",
        says=(
            r"(?:has|with) <NAME> as (?:its|the) capital",
            r".{0,150}(?:, |and )whose capital(?: and largest city| city)? is <NAME>",
            r".{0,150},? with (?:its|the) capital(?: and largest city)?(?: being| in| at)? <NAME>",
        ),
        has=(
            r"(?:\p{Ll}+ )?capital(?: city)?(?:,? (?:and )?(?:its |the )?(?:largest|most populous|biggest)"
            r"(?: and [\p{Ll} ]+)? city)? (?:is|was) <NAME>",
            r"largest city and capital (?:is|was) <NAME>",
        ),
        person=False,
    ),
    Relation(
        "largest city",
        "What is the largest city of {}?",
        "largest|populous|biggest",
        has=(
            r"(?:capital(?: city)?(?:,| and)(?: (?:its|the))? )?(?:largest|most populous|biggest)(?: and most "
            r"populous)? "
            r"city (?:is|was) <NAME>",
            r"largest city and capital (?:is|was) <NAME>",
        ),
        person=False,
    ),
    Relation(
        "place whose capital it is",
        "What is {} the capital of?",
        "capital",
        says=(
            r"is (?:the|a) (?:national |state |provincial |administrative |regional )?capital(?: city)?"
            r"(?:,? (?:(?:and|as well as) )?(?:also )?(?:the )?(?:largest|most populous|biggest|second-largest)"
            r"[\p{Ll} ,-]{0,40}? city| and [\p{Ll} -]{3,30})? of <PLACE>",
        ),
        person=False,
        phrase="the place whose capital is {}",
    ),
    Relation(
        "place where it ranks so",
        "Where is {} the {what}?",
        "est |most populous|most-populous|most populated",
        says=(
            r"is (?:the capital(?: city)?(?: and|, the|,) )?(?:the )?"
            r"(?P<what>(?:(?:second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|\d+(?:st|nd|rd|th))[- ])?"
            r"(?:largest|biggest|highest|longest|deepest|oldest|tallest|smallest|busiest|most[- ]populous|most "
            r"populated)"
            r"(?: (?!(?:and|or|by|in|of|on)\b)\p{Ll}+){1,2}) (?:in|of|on) <PLACE>(?! (?:by|after|outside)\b)",
        ),
        person=False,
        phrase="the place where {} is the {what}",
    ),
    Relation(
        "location",
        "Where is {} located?",
        " in | on | at | off ",
        says=(
            r"(?:is|was|are|were) (?:an?|the|one of the) (?!(?:capital|largest|most|second|third)\b)[^,;.]{0,60}?"
            r"(?:city|town|village|municipality|commune|kingdom|republic|territory|hamlet|archipelago|island|"
            r"country|hospital|"
            r"school|theatre|library|station|square|abbey|monastery|cave|cape|gulf|plain|basin|river|lake|mountain|"
            r"volcano|peak|desert|"
            r"peninsula|bay|sea|strait|valley|district|county|port|suburb|neighbourhood|borough|university|museum|"
            r"cathedral|castle|palace|temple|church|mosque|bridge|tower|stadium|airport|park|building|monument|"
            r"waterfall|"
            r"plateau|glacier|fortress|site|hill|canal|dam|forest|office|campus|plant|factory|data cent(?:er|re)|"
            r"warehouse|"
            r"settlement|canyon|range)s?,? (?:(?:located|situated|found) )?(?:in|off|on) <PLACE>",
            r"(?:lies|stands|sits|is|runs|operates) in <PLACE>",
            r"lies? (?:on|off|at) <PLACE>",
        ),
        does=(r"(?:located|situated|hosted|housed) (?:in|on|at|off) <PLACE>",),
        person=False,
        phrase="the place where {} is located",
    ),
    Relation(
        "population",
        "What is the population of {}?",
        "population|inhabitants|residents",
        says=(
            r"(?:has|had|with)(?: .{0,25})? population of <about><NUMBER>",
            r"(?:has|had|is home to) <about><NUMBER> (?:inhabitants|residents|people)\b(?! per)",
            r".{3,160}?,? with (?:a|an estimated) population of <about><NUMBER>",
        ),
        has=(r"population (?:is|was|of)(?: .{0,25}?)? ?<about><NUMBER>",),
        person=False,
    ),
    Relation(
        "area",
        "What is the area of {}?",
        " area|cover|span|occup",
        says=(
            r"(?:covers|spans|occupies|has)(?: (?:an?|the))?(?: total| land| surface)*(?: area of)? <about><MEASURE>"
            r"(?<=2|²|square \p{L}+|hectares|ha|acres)",
            r".{3,140}?(?:covering|with)(?: (?:an?|the))?(?: total| land| surface)* area of <about><MEASURE>",
        ),
        has=(r"(?:total |land )*area (?:is|of) <about><MEASURE>",),
        person=False,
    ),
    Relation(
        "height",
        "What is the height of {}?",
        "elevation|height|altitude|summit|tall|high|above|peak",
        says=(
            r".{0,120}?(?:elevation|height|altitude) (?:of|at) <about><MEASURE>",
            r"(?:is|stands|rises(?: to)?) <about><MEASURE>,? (?:tall|high|above)",
        ),
        has=(r"(?:elevation|height|altitude|peak|summit|summit elevation) (?:is|of|at) <about><MEASURE>",),
        person=False,
    ),
    Relation(
        "length",
        "What is the length of {}?",
        "length|long|runs|flows|stretches|extends",
        says=(
            r".{0,120}?(?:a|total|overall) length of <about><MEASURE>",
            r"(?:is|runs|flows|stretches|extends)(?: for)? <about><MEASURE>,? (?:long|in length|from)",
        ),
        has=(r"(?:total )?length (?:is|of) <about><MEASURE>",),
        person=False,
    ),
    Relation(
        "official language",
        "What is the official language of {}?",
        "language",
        has=(r"(?:sole )?(?:official|national)(?: and [\p{Ll} ]+)? language is <NAME>",),
        person=False,
    ),
    Relation(
        "mouth",
        "What does {} flow into?",
        " into |tributary",
        says=(
            r".{0,160}?\b(?:flows|flowing|empties|emptying|drains|draining|discharges) into <THE>",
            r"is (?:an?|the) [^.,;]{0,40}?tributary of <THE>",
        ),
        person=False,
        phrase="the water that {} flows into",
    ),
    *(
        Relation(
            f"neighbour to the {side}",
            f"What borders {{}} to the {side}?",
            f"the {side}",
            phrase=f"the {side}ern neighbour of {{}}",
            says=(
                r".{0,160}?\b(?:border(?:s|ed|ing)|bounded|surrounded|flanked)\b(?:(?!maritime)[^.;]){0,150}?"
                rf"(?:by|with|borders|(?:to|on|in) the \p{{Ll}}+,? and|,) <THE> (?:to|on|in) the {side}\b",
                rf".{{0,160}}?\b(?:borders?|bordered|bounded)\b(?:(?!maritime)[^.;]){{0,150}}?(?:to|on) the {side} "
                rf"by <THE>",
                rf"(?:shares )?(?:land )?borders (?:with )?<THE> (?:to|on|in) the {side}\b",
            ),
            person=False,
        )
        for side in ("north", "south", "east", "west", "northeast", "northwest", "southeast", "southwest")
    ),
)
