"""What prose says of works, organisations and software: who made them, when, of what, and whose they are."""

from __future__ import annotations

from piplay.envs.search.relations.patterns import Relation, by, when

_BELONGING = (
    Relation(
        "larger whole",
        "What is {} a part of?",
        "part of|belong|component|division|subsidiary|territory|dependency|region|province|country|department|branch",
        says=(
            r"(?:is|are|was|were|forms?) (?:an? |the )?(?:\p{Ll}+ )?part of <THE>",
            r"belongs to <THE>",
            r"(?:is|are|was) (?:an?|the) (?:[\p{Ll}-]+ ){0,3}(?:component|division|subsidiary|territory|dependency|"
            r"region|"
            r"province|constituent country|department|branch) of <THE>",
        ),
        phrase="what {} is a part of",
    ),
    Relation(
        "group",
        "What is {} a member of?",
        "member",
        says=(r"(?:is|was|are|were) (?:also )?(?:an?|one of the|the)(?: [\p{Ll}-]+)? members?(?: state)? of <THE>",),
        phrase="the group that {} is a member of",
    ),
    Relation(
        "headquarters",
        "Where is {} headquartered?",
        "headquarter|based",
        does=(r"(?:headquartered|based) (?:in|at) <PLACE>",),
        has=(r"headquarters (?:is|are)(?: located)? (?:in|at) <PLACE>",),
        person=False,
        phrase="the place where {} is headquartered",
    ),
    Relation(
        "place of origin",
        "Where does {} come from?",
        "formed|founded|established|originat|comes from|invented|developed",
        does=(
            r"(?:formed|founded|established|developed|invented|created)(?: in \d{4})? in <PLACE>",
            r"(?:that |which )?(?:originated|originating|originates) (?:in|from) <PLACE>",
        ),
        says=(r"(?:.{3,80}? that )?(?:originated|originates|comes) (?:in|from) <PLACE>",),
        person=False,
        phrase="the place that {} comes from",
    ),
)
_MAKING = (
    by("founded|co-founded|established|set up|started", "founder", "Who founded {}?"),
    when("founded|established|incorporated|set up|started", "date of founding", "When was {} founded?"),
    when("formed", "date of formation", "When was {} formed?"),
    when("created|painted|composed|made|written", "date of making", "When was {} made?"),
    Relation(
        "author",
        "Who wrote {}?",
        " by |written",
        does=(
            r"(?:written|authored|penned)(?: and (?:directed|illustrated|produced))? "
            r"(?:(?:in|between|from) [\d–-]+(?: (?:and|to) \d+)? )?by <PERSON>",
            r"(?:novel|novella|poem|play|book|tragedy|comedy|treatise|story|essay|trilogy|epic|drama|satire)s? by "
            r"<PERSON>",
        ),
    ),
    by("directed", "director", "Who directed {}?"),
    Relation(
        "composer",
        "Who composed {}?",
        " by ",
        does=(
            r"composed(?: (?:in|between) [\d ]+)? by <PERSON>",
            r"(?:opera|symphony|ballet|concerto|sonata|composition|suite|oratorio|cantata|musical)s?(?: in [\p{Ll} "
            r"]+)? "
            r"by <PERSON>",
        ),
    ),
    Relation(
        "artist",
        "Who made {}?",
        " by ",
        does=(
            r"(?:painted|sculpted|carved)(?: in \d+)? by <PERSON>",
            r"(?:painting|portrait|fresco|sculpture|statue|drawing|woodblock print|album|song|single|mural|"
            r"triptych)s? by "
            r"<PERSON>",
        ),
        phrase="the artist who made {}",
    ),
    by("invented|devised", "inventor", "Who invented {}?"),
    by("discovered|first isolated|first described", "discoverer", "Who discovered {}?"),
    when("discovered|isolated", "date of discovery", "When was {} discovered?", "(?:first )?"),
    when("invented|patented", "date of invention", "When was {} invented?"),
    by("created", "creator", "Who created {}?"),
    by("developed", "developer", "Who developed {}?"),
    by("manufactured|produced|built|made", "maker", "Who made {}?"),
    by("designed", "designer", "Who designed {}?"),
    by("owned", "owner", "Who owns {}?"),
    by("organised|organized|hosted", "organiser", "Who organises {}?"),
    by("commissioned", "commissioner", "Who commissioned {}?"),
    by("operated|run", "operator", "Who runs {}?"),
    by("maintained", "maintainer", "Who maintains {}?"),
    by("led|headed|chaired|managed", "leader", "Who leads {}?"),
    by("published", "publisher", "Who published {}?"),
    by("introduced|coined|proposed|formulated|popularized|popularised", "originator", "Who introduced {}?"),
    when("published|serialised|serialized", "date of publication", "When was {} published?", "(?:first |originally )?"),
    when("released|premiered|launched", "date of release", "When was {} released?", "(?:first |originally )?"),
    when("introduced|coined|adopted|signed|ratified|enacted|passed", "date of introduction", "When was {} introduced?"),
    when("built|constructed|completed|opened|erected|inaugurated", "date of completion", "When was {} built?"),
    Relation(
        "setting",
        "Where is {} set?",
        "set in",
        does=(r"set (?:mostly |mainly |primarily )?in <PLACE>",),
        person=False,
        phrase="the place where {} is set",
    ),
    Relation(
        "model",
        "What is {} based on?",
        "based on",
        does=(r"(?:loosely |partly )?based on <PERSON>",),
        has=(r"(?:\p{Ll}+ )?(?:is|are|was) (?:loosely |partly )?based on <PERSON>",),
        person=False,
        phrase="what {} is based on",
    ),
    Relation(
        "place of premiere",
        "Where did {} premiere?",
        "premiered",
        says=(r"(?:was )?(?:first )?premiered (?:at|in) <PLACE>",),
        person=False,
        phrase="the place where {} premiered",
    ),
    when("abolished|dissolved|disbanded|destroyed|demolished|defeated", "end", "When did {} come to an end?"),
)
_SOFTWARE = (
    Relation(
        "programming language",
        "Which programming language is {} written in?",
        "written|implemented|programmed|coded",
        does=(
            r"(?:written|implemented|programmed|coded) (?:mostly |mainly |primarily |entirely )?in "
            r"(?P<value>Ada|Assembly|C|C\+\+|C#|Clojure|D|Dart|Elixir|Erlang|F#|Fortran|Go|Haskell|Java|JavaScript|"
            r"Julia|"
            r"Kotlin|Lisp|Lua|OCaml|PHP|Pascal|Perl|Python|R|Ruby|Rust|Scala|Scheme|Swift|TypeScript|Zig)"
            r"(?=[.,;)]|$| (?:by|on|for|that|which|in|and \p{Ll}+)\b)(?!, \p{Lu})",
        ),
        person=False,
        phrase="the programming language that {} is written in",
    ),
    Relation(
        "licence",
        "Which licence is {} under?",
        " under ",
        does=(
            r"(?:licensed|released|distributed|published|available) under (?:the (?:terms of the )?|an? )?"
            r"(?P<value>[\p{L}\p{N}][\p{L}\p{N}.+-]*(?: [\p{L}\p{N}][\p{L}\p{N}.+-]*){0,3}?)(?<!\.)(?: [Ll]icen[cs]e)?"
            r"(?=[,;]|\.(?!\d)|$| (?:by|in|and)\b)",
        ),
        person=False,
        phrase="the licence that {} is under",
    ),
    Relation(
        "dependency",
        "What does {} depend on?",
        "depends on|requires|builds on|built on|runs on",
        says=(
            r"(?:depends on|requires|is built on(?: top of)?|builds on|runs on) (?:the )?"
            r"(?P<value>[\p{L}\p{N}][\p{L}\p{N}.+-]*(?: [\p{Lu}\p{N}][\p{L}\p{N}.+-]*){0,3})(?<!\.)"
            r"(?=[,;]|\.(?!\p{N})|$| (?:for|in|to|by|at|with|since|and (?:is|was|has))\b)(?!, [^,]+,)",
        ),
        person=False,
        phrase="what {} depends on",
    ),
    Relation(
        "parent company",
        "What is the parent company of {}?",
        "parent",
        has=(r"parent (?:company|organi[sz]ation) is <THE>",),
    ),
    Relation(
        "number of employees",
        "How many employees does {} have?",
        "employ",
        says=(r"(?:has|had|employs|employed) <about><NUMBER> (?:employees|people|staff|workers)\b",),
        person=False,
    ),
    Relation(
        "responsibility",
        "What does {} lead?",
        "leads|manages|heads",
        says=(r"(?:leads|manages|heads) <THE>",),
        person=True,
        phrase="what {} leads",
    ),
    Relation(
        "home base",
        "Where is {} based?",
        "based|lives",
        does=(r"based in <PLACE>",),
        says=(r"lives in <PLACE>",),
        person=True,
        phrase="the place where {} is based",
    ),
    Relation(
        "employer", "Where does {} work?", "works", says=(r"works (?:[\p{Ll} ]{3,30} )?(?:at|for) <THE>",), person=True
    ),
    Relation(
        "date of joining",
        "When did {} join?",
        "joined",
        says=(r"joined [^,;.]{3,40}? (?:in|on) <DATE>",),
        person=True,
    ),
    Relation("superior", "Whom does {} report to?", "reports to", says=(r"reports to <PERSON>",)),
)
MAKING = (*_BELONGING, *_MAKING, *_SOFTWARE)
