"""What prose says of people: birth and death, office, kin, works and names."""

from __future__ import annotations

from piplay.envs.search.relations.patterns import Relation

_BIRTH = (
    Relation(
        "date of birth",
        "When was {} born?",
        "born",
        does=(r"born(?: <name>)?(?: (?:in|at) [^;\d]{3,60}?,?)? (?:on|in|c\.|around) <DATE>",),
        person=True,
    ),
    Relation(
        "date of death",
        "When did {} die?",
        "died|killed|executed|assassinated",
        says=(r"(?:died|was killed|was executed|was assassinated)(?: (?:in|at|of) [^;\d]{3,60}?,?)? (?:on|in) <DATE>",),
        person=True,
    ),
    Relation(
        "birthplace",
        "Where was {} born?",
        "born",
        does=(r"born(?: and (?:raised|educated|brought up))?(?: (?:on|in) <date>)? (?:in|at|near) <PLACE>",),
        person=True,
    ),
    Relation(
        "place of death",
        "Where did {} die?",
        "died|killed|executed|assassinated",
        says=(r"(?:died|was killed|was executed|was assassinated)(?: (?:on|in) <date>)? (?:in|at) <PLACE>",),
        person=True,
    ),
    Relation("burial place", "Where is {} buried?", "buried", does=(r"buried (?:in|at) <PLACE>",)),
    Relation(
        "birth name",
        "What was the birth name of {}?",
        "born",
        says=(
            r"<is>born (?P<value>\p{Lu}[\p{L}'’.-]+(?: (?:\p{Lu}[\p{L}'’.-]+|de|von|van|di|del|no|al)){1,3})(?= |,|$)"
            r"(?= (?:in|on)\b|,|$)",
        ),
        person=True,
    ),
)
_RULED = (
    r"(?!.*\b(?:again|previously)\b)(?:served as|reigned|ruled|<is>(?:the )?[^,;.]{3,60}?(?:king|queen|emperor|"
    r"empress|sultan|pharaoh|president|"
    r"minister|"
    r"chancellor|tsar|pope|shah|ruler|governor|duke|Emperor|King|Queen|Sultan) of (?:the )?<name>)\b[^;.]{0,60}?,? "
)
_LIFE = (
    Relation(
        "nationality",
        "What is the nationality of {}?",
        "is |was ",
        says=(
            r"<is>an? (?:\p{Ll}+ )?(?!(?:Christian|Catholic|Lutheran|Puritan|Anglican|Republican|Victorian|"
            r"Dominican)\b)"
            r"(?P<value>\p{Lu}\p{L}+(?:an|ish|ese|ch|sh|ic|i|eek|iss|elsh|ole|ane|ede|urk))"
            r"(?= \p{Ll})(?! (?:and|or|by|who|of)\b)",
        ),
        person=True,
    ),
    Relation(
        "occupation",
        "What was the occupation of {}?",
        "is |was ",
        says=(
            r"<is>an? (?:[\p{L}-]*\p{Lu}[\p{L}-]+ )?(?:(?:senior|junior|former|retired) )?"
            r"(?!(?:\p{Ll}+ )?(?:member|number|center|character)\b)(?P<value>(?:\p{Ll}+ "
            r")?\p{Ll}+(?:er|or|ist|ian|ect|man|woman|het|oet|"
            r"ress|ef|ict|hor|ief|eer|ant|nun|monk|wright|cian))(?=,| and| who| of| from| known|\.)",
        ),
        person=True,
    ),
    Relation(
        "parent",
        "Who was a parent of {}?",
        "son|daughter|child|born",
        says=(
            r"<is>(?:the )?(?:\p{Ll}+ )?(?:son|daughter|child) of <PERSON>",
            r"<is>born [^.;,]{0,40}?to <PERSON>",
        ),
        person=True,
    ),
    Relation(
        "spouse",
        "Who was {} married to?",
        "married|wife|husband|widow|spouse|consort",
        says=(
            r"(?:(?:was|is|were) married to|married) <PERSON>",
            r"<is>(?:the )?(?:\p{Ll}+ )?(?:wife|husband|widow|spouse|consort) of <PERSON>",
        ),
        person=True,
    ),
    Relation(
        "teacher",
        "Who taught {}?",
        "studied|student|pupil|disciple|protégé",
        says=(
            r"studied (?:\p{Ll}+ )?under <PERSON>",
            r"<is>(?:a |the )?(?:\p{Ll}+ )?(?:student|pupil|disciple|protégé) of <PERSON>",
        ),
        person=True,
    ),
    Relation(
        "place of study",
        "Where did {} study?",
        "studied|graduated|educated|attended",
        says=(
            r"(?:studied|graduated|was educated)(?: [\p{Ll} ]+?)? (?:at|from) <THE>",
            r"attended <THE>(?<=University|College|School|Academy|Institute|Conservatory|Technology)",
        ),
        person=True,
        phrase="the place where {} studied",
    ),
    Relation(
        "predecessor",
        "Whom did {} succeed?",
        "succeeded|preceded",
        says=(r"succeeded <PERSON>", r"<is>preceded by <PERSON>"),
    ),
    Relation("successor", "Who succeeded {}?", "succeeded", does=(r"succeeded (?:in \d+ )?by <PERSON>",), person=True),
    Relation(
        "office",
        "What office did {} hold?",
        " of | for ",
        says=(
            r"(?:served|reigned|ruled|acted) as (?:the )?(?:\d+\w\w |first |second |third )?"
            r"(?P<value>\p{L}[\p{L}-]* (?:of|for) (?:the )?\p{Lu}\p{L}+(?: \p{Lu}\p{L}+)?)<end>",
            r"<is>(?:the )?(?:\d+\w\w(?: and last)? |first |last |second |third |fourth )?"
            r"(?P<value>(?:king|queen|emperor|empress|sultan|pharaoh|tsar|president|chancellor|prime minister|shah|"
            r"caliph|"
            r"pope|ruler|duke|chief justice|governor|King|Queen|Emperor|Empress|Sultan|Tsar|Caliph|Duke) of (?:the )?"
            r"\p{Lu}\p{L}+(?: \p{Lu}\p{L}+)?)<end>",
        ),
        person=True,
    ),
    Relation(
        "year of coming to office",
        "In which year did {} come to office?",
        " from ",
        says=(rf"{_RULED}from (?P<value>\d{{3,4}}) (?:until|to|till)",),
        person=True,
    ),
    Relation(
        "year of leaving office",
        "In which year did {} leave office?",
        " from ",
        says=(
            rf"{_RULED}from \d{{3,4}} (?:until|to|till)(?: (?:his|her) (?:death|abdication|resignation) in)? "
            r"(?P<value>\d{3,4})\b",
        ),
        person=True,
    ),
    Relation(
        "dynasty",
        "Which dynasty did {} belong to?",
        "dynasty",
        says=(r"<is>(?:an?|the) [^,;.]{3,60}? of the (?P<value>\p{Lu}[\p{L}'’-]+) dynasty\b",),
        person=True,
        phrase="the dynasty that {} belonged to",
    ),
    Relation(
        "team",
        "Which team did {} play for?",
        "play",
        says=(
            r"(?:plays|played|has played)(?: as an? [\p{Ll} -]+)? for <THE>",
            r".{0,80}? who plays [^,;.]{0,40}?for <THE>",
        ),
        person=True,
        phrase="the team that {} played for",
    ),
    Relation(
        "workplace",
        "Where did {} work?",
        "taught|lectured|worked|professor",
        says=(
            r"(?:taught|lectured|worked|was (?:an? )?(?:\p{Ll}+ )?professor)(?: [\p{Ll} ]{3,40}?)? at <THE>",
            r"<is>(?:an?|the) [^,;.]{0,60}?professor (?:[\p{Ll} ]{3,40} )?at <THE>",
        ),
        person=True,
        phrase="the place where {} worked",
    ),
    Relation(
        "new home",
        "Where did {} move to?",
        "moved|emigrated|immigrated|fled",
        says=(r"(?:moved|emigrated|immigrated|fled)(?: with [\p{Ll} ]+)? to <PLACE>",),
        person=True,
        phrase="the place to which {} moved",
    ),
    Relation(
        "beaten opponent",
        "Whom did {} defeat?",
        "defeated",
        says=(r"defeated <PERSON>",),
        person=True,
        phrase="the opponent whom {} defeated",
    ),
    *(
        Relation(
            noun,
            f"What did {{}} {verb}?",
            cue,
            phrase=f"the {noun} of {{}}",
            says=(
                rf"<is>(?:(?:an?|the) )?(?:[^,;.]{{0,60}}?\b(?:and|,|the) )?(?:co-)?{doer}(?: and \p{{Ll}}+)? of <THE>",
                rf"(?:co-)?{past} <THE>",
            ),
            person=True,
        )
        for noun, verb, doer, past, cue in (
            ("foundation", "found", "founder", "founded", "found"),
            ("written work", "write", "author", "wrote", "author|wrote"),
            ("creation", "create", "creator", "created", "creat"),
            ("discovery", "discover", "discoverer", "discovered", "discover"),
            ("command", "lead", "leader", "led", "led |leader"),
            ("film", "direct", "director", "directed", "direct"),
        )
    ),
    Relation(
        "award",
        "Which award did {} receive?",
        "Prize|Award|Medal",
        says=(
            r"(?:also )?(?:won|received|was awarded|earned)(?: (?:the|an?))?(?: \d{4})? "
            r"(?P<value>(?:\p{Lu}[\p{L}'’-]+ ){1,3}(?:Prize|Award|Medal)"
            r"(?: (?:in|for|of) (?:Physiology or Medicine|\p{Lu}\p{L}+))?)\b(?! (?:and|in|for|of) )",
        ),
    ),
    Relation(
        "claim to fame",
        "What is {} known for?",
        "known for",
        says=(
            r"<is>[^;.]{0,90}?(?:best|well|widely|primarily|also|chiefly)?-?known (?:primarily |mainly |chiefly )?for "
            r"(?:(?:his|her|the|their|writing|directing|creating|inventing|founding|discovering|developing|painting) )?"
            r"(?:\d{4} )?(?:(?!(?:of|in|and|to|with|by|as)\b)[\p{Ll}-]+ ){0,3}<THE>",
        ),
        person=True,
        phrase="what {} is known for",
    ),
)
PEOPLE = (*_BIRTH, *_LIFE)
