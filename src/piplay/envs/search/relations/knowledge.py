"""What prose says of names, events, living things, substances and branches of knowledge."""

from __future__ import annotations

from piplay.envs.search.relations.patterns import Relation

NAMES = (
    Relation(
        "other name",
        "What is another name of {}?",
        "known|called|referred|nicknamed",
        does=(
            r"(?:also|sometimes|often|commonly|more commonly|better|popularly|otherwise) (?:known|called|referred to)"
            r"(?: (?:simply|in \p{Lu}\p{Ll}+))?(?: as)? (?:the |an? )?"
            r"(?!(?:as|by|in|to|for|from|his|her|its|one|simply|just)\b)"
            r"(?P<value>[\p{L}][\p{L}'’-]*(?: (?!of\b)[\p{L}'’-]+){0,2}?)(?=,|\.|;| or | and |$| is )",
        ),
        phrase=None,
    ),
    Relation(
        "official name",
        "What is the official name of {}?",
        "officially",
        says=(r"is (?:and )?officially (?:called |known as |named )?(?:the )?<NAME>",),
        phrase=None,
    ),
    Relation(
        "former name",
        "What was {} formerly called?",
        "ormerly|reviously|riginally|istorically",
        says=(r"<is>(?:formerly|previously|originally|historically)(?: known as| called| named)? (?:the )?<NAME>",),
        person=False,
        phrase=None,
    ),
    Relation(
        "nickname",
        "What is the nickname of {}?",
        "nicknamed",
        says=(r"<is>nicknamed(?: as)? [\"“]?<NAME>",),
        phrase=None,
    ),
    Relation(
        "namesake",
        "Who or what is {} named after?",
        "named",
        does=(r"named (?:after|for|in honou?r of) <PERSON>",),
    ),
)
_SPANS = (
    r"(?:lasted|took place|ran|existed|was fought|occurred|extended|spanned)(?: [\p{Ll} ]{0,20})?(?: from| between)"
    r"(?: (?:about|around|the))? "
)
_EVENT = (
    r"<is>(?:an?|the) [^;.]{0,60}?\b(?:war|conflict|battle|campaign|revolution|rebellion|uprising|revolt|period|era|"
    r"age|"
    r"dynasty|empire|kingdom|republic|state|caliphate|sultanate|crisis|movement|expedition|siege|conference|depression|"
    r"genocide|famine|epidemic|pandemic|crusade|civili[sz]ation|culture|colony|union|confederation|shogunate|regime|"
    r"programme?|mission)\b(?:(?!reign|rul|serv|which|that|whose)[^;.]){0,80}? (?:from|between)(?: (?:about|around|"
    r"the))? "
)
_EVENTS = (
    Relation(
        "outcome",
        "What did {} result in?",
        "resulted in|led to|ended with",
        says=(r"(?:resulted in|ended with|led to) <THING>",),
        person=False,
    ),
    Relation(
        "date",
        "When did {} take place?",
        "took place|occurred|happened|held|fought|signed",
        says=(
            r"(?:took place|occurred|happened|was held|was fought|was signed)(?: (?:in|at|near|between) "
            r"[^;\d]{3,60}?,?)? "
            r"(?:on|in) <DATE>",
            r"<is>(?:an?|the) [^;]{0,90}?(?:fought|held|signed|occurred) (?:on|in) <DATE>",
        ),
        person=False,
    ),
    Relation(
        "beginning",
        "When did {} begin?",
        " from | between |began",
        says=(
            rf"{_SPANS}<FROM>(?= (?:to|until|and|till)\b)",
            rf"{_EVENT}<FROM>(?= (?:to|until|and)\b)",
            r"began (?:in|on) <DATE>",
        ),
        person=False,
    ),
    Relation(
        "ending",
        "When did {} end?",
        " from | between |ended",
        says=(
            rf"{_SPANS}<from>,? (?:to|until|and|till) (?:about |around |the )?<DATE>",
            rf"{_EVENT}<from>,? (?:to|until|and|till) (?:about |around |the )?<DATE>",
            r"ended (?:in|on) <DATE>",
        ),
        person=False,
    ),
    Relation(
        "place",
        "Where did {} take place?",
        "took place|occurred|happened|held|fought|signed",
        says=(
            r"(?:took place|occurred|happened|was held|was fought|was signed)(?: (?:on|in) <date>)? (?:in|at|near) "
            r"<PLACE>",
        ),
        person=False,
        phrase="the place where {} took place",
    ),
)
_NATURE = (
    Relation(
        "chemical symbol",
        "What is the chemical symbol of {}?",
        "symbol",
        says=(r".{0,60}?\b(?:has|with)(?: the)?(?: chemical)? symbol (?P<value>\p{Lu}\p{Ll}?)\b",),
        person=False,
    ),
    Relation(
        "atomic number",
        "What is the atomic number of {}?",
        "atomic number",
        says=(r".{0,80}?\batomic number (?P<value>\d+)\b",),
        person=False,
    ),
    Relation(
        "family",
        "Which family does {} belong to?",
        "family",
        says=(
            r"(?:is|are|was|were|belongs?)\b[^.;]{0,140}?\b(?:in|of|within|to) the (?:\p{Ll}+ )?family "
            r"(?P<value>\p{Lu}\p{Ll}+(?:idae|aceae))\b",
            r"(?:is|are|was|were)\b[^.;]{0,100}?\bfamily,? (?P<value>\p{Lu}\p{Ll}+(?:idae|aceae))\b",
        ),
        person=False,
        phrase="the family that {} belongs to",
    ),
    Relation(
        "order",
        "Which order does {} belong to?",
        " order ",
        says=(
            r"(?:is|are|was|were|belongs?)\b[^.;]{0,140}?\b(?:in|of|within|to) the (?:\p{Ll}+ )?order "
            r"(?P<value>\p{Lu}\p{Ll}{3,})\b",
        ),
        person=False,
        phrase="the order that {} belongs to",
    ),
    Relation(
        "genus",
        "Which genus does {} belong to?",
        "genus",
        says=(
            r"(?:is|are|was|were|belongs?)\b[^.;]{0,100}?\b(?:in|of|within|to) the genus (?P<value>\p{Lu}\p{Ll}+)\b",
        ),
        person=False,
        phrase="the genus that {} belongs to",
    ),
    Relation(
        "language family",
        "Which language family does {} belong to?",
        "language",
        says=(
            r"<is>an? (?P<value>\p{Lu}[\p{L}–]+(?:-\p{L}+)?) language\b",
            r".{0,140}?\b(?:belong(?:s|ing) to|of|within) the (?P<value>\p{Lu}[\p{L}–-]+) language family\b",
        ),
        person=False,
        phrase="the language family that {} belongs to",
    ),
    Relation(
        "native range",
        "Where is {} native to?",
        "native|endemic|indigenous",
        does=(r"(?:native|endemic|indigenous) to <PLACE>",),
        person=False,
        phrase="the region that {} is native to",
    ),
    Relation(
        "region where it is spoken",
        "Where is {} spoken?",
        "spoken",
        does=(r"spoken (?:\p{Ll}+ly )?(?:in|throughout|across) <PLACE>",),
        person=False,
        phrase="the region where {} is spoken",
    ),
)
_KNOWLEDGE = (
    Relation(
        "constellation",
        "Which constellation is {} in?",
        "constellation",
        says=(r".{0,80}?\bin the constellation (?:of )?<NAME>",),
        person=False,
        phrase="the constellation that {} is in",
    ),
    Relation(
        "body that it orbits",
        "What does {} orbit?",
        "orbit|moon|satellite",
        says=(r"orbits <THE>", r"is (?:an?|the) [^,;.]{0,40}?(?:moon|satellite) of <THE>"),
        person=False,
        phrase="the body that {} orbits",
    ),
    Relation(
        "thing that it crosses",
        "What does {} cross?",
        "crosses|spans",
        says=(r"(?:crosses|spans) <THE>",),
        person=False,
        phrase="what {} crosses",
    ),
    Relation(
        "language of the name",
        "Which language does the name of {} come from?",
        "name|word|term",
        has=(
            r"(?:name|word|term)[^.;]{0,40}? (?:comes|derives|originates|is derived|was derived|is|originated) from "
            r"(?:the )?"
            r"(?P<value>(?:(?:Old|Middle|Ancient|Classical|Late|Medieval) )?(?:Latin|Greek|French|English|Norse|German|"
            r"Italian|Spanish|Portuguese|Dutch|Arabic|Persian|Sanskrit|Hebrew|Turkish|Japanese|Chinese|Russian|Irish|"
            r"Hindi|Malay|Nahuatl|Quechua|Tamil))\b",
        ),
        person=False,
        phrase="the language that the name of {} comes from",
    ),
    Relation(
        "main component",
        "What is {} mainly made up of?",
        "composed|made up|consists|comprised",
        does=(r"(?:composed|made up|comprised) (?:mainly |mostly |primarily |largely |almost entirely )?of <THING>",),
        says=(r"consists (?:mainly |mostly |primarily |largely )of <THING>",),
        person=False,
        phrase="what {} is mainly made up of",
    ),
    Relation(
        "field",
        "What is {} a branch of?",
        "branch|field|area|discipline",
        says=(
            r"(?:is|are) (?:an?|one of the|the) (?:\p{Ll}+ )?(?:branch|branches|field|subfield|sub-field|area|"
            r"subdiscipline|sub-discipline|discipline) (?:of|within) <THING>",
        ),
        person=False,
        phrase="the field that {} is a branch of",
    ),
    Relation(
        "object of study",
        "What does {} study?",
        "study|studies",
        says=(
            r"(?:is|are) the (?:\p{Ll}+ |\p{Ll}+ and \p{Ll}+ )?study of <THING>",
            r"(?:is|are) (?:an?|the) [\p{Ll} ,]{0,60}?(?:that|which) studies <THING>",
            r"studies <THING>",
        ),
        person=False,
        phrase="what {} studies",
    ),
    Relation(
        "material",
        "What is {} made from?",
        " from | of ",
        does=(
            r"(?:made|produced|manufactured|prepared|distilled|extracted|obtained)(?: \p{Ll}+)? (?:from|out of) "
            r"<THING>",
        ),
        person=False,
        phrase="what {} is made from",
    ),
    Relation(
        "cause",
        "What causes {}?",
        "caused by",
        does=(r"caused by <THING>",),
        person=False,
        phrase="what causes {}",
    ),
    Relation(
        "use",
        "What is {} used for?",
        "used ",
        does=(r"used (?:\p{Ll}+ly )?for <THING>",),
        person=False,
        phrase="what {} is used for",
    ),
    Relation(
        "quantity that it measures",
        "What does {} measure?",
        "unit|measure",
        says=(
            r"(?:is|are) (?:an?|the) [\p{Ll} ,-]{0,60}?(?:measure|unit|unit of measurement) of <THING>",
            r".{0,60}?\b(?:used to|that) measures? <THING>",
        ),
        person=False,
        phrase="the quantity that {} measures",
    ),
    Relation(
        "kind",
        "What kind of thing is {}?",
        "is |are |was |were ",
        says=(
            r"(?:is|are|was|were) an? (?:(?:\p{Ll}+ )?(?:kind|type|form|class|genus|species) of )?"
            r"(?!\p{Ll}+ly )"
            r"(?!(?:common |collective |generic )?(?:name|term|word|member|part|list|group|number|way|concept|place|"
            r"person|"
            r"thing|situation|process|phenomenon|event|condition)\b)"
            r"(?P<value>\p{Ll}[\p{Ll}-]*(?: (?!(?:of|in|that|which|who|whose|where|with|for|and|or|to|on|by|from|is|"
            r"are|"
            r"within|at|as|between|native|\p{Ll}+ing|\p{Ll}+ed|\p{Ll}+ly|most)\b)[\p{Ll}-]+){0,3}?)"
            r"(?=,? (?:that|which|used|who|whose|where|with|for|in|on|made|native|located|consisting|designed|"
            r"intended)\b|"
            r", (?:an?|the|some|one|often|usually|typically|especially)\b|"
            r"[.;]|$)",
        ),
        person=False,
        phrase=None,
    ),
)
KNOWLEDGE = (*_EVENTS, *_NATURE, *_KNOWLEDGE)
