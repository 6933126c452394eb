"""The words that the lexical tagger knows: closed classes whole, of the open ones what instructions are made of.

Class names are those of Universal Dependencies. A word that is not here is judged by its ending and its neighbours.
"""

from collections.abc import Mapping

DETERMINERS = """
a an the this that these those each every some any no all both half another either neither much many few several my
your his her its our their whose which what such
"""
ADPOSITIONS = """
about above across after against along among around at before behind below beneath beside besides between beyond by
despite down during except for from in inside into like near of off on onto out outside over past per since through
throughout till toward towards under underneath until up upon via with within without
"""
PRONOUNS = """
i you he she it we they me him us them myself yourself himself herself itself ourselves themselves mine yours hers
ours theirs who whom someone somebody something anyone anybody anything everyone everybody everything nobody nothing
one ones there let's that's it's i'm you're we're they're he's she's there's here's what's
"""
AUXILIARIES = """
am is are was were be been being do does did has have had having can could may might must shall should will would
cannot can't couldn't don't doesn't didn't isn't aren't wasn't weren't won't wouldn't shouldn't haven't hasn't hadn't
ain't gonna gotta i'll you'll we'll they'll it'll i've you've we've they've i'd you'd we'd
"""
CONJUNCTIONS = "and or but nor yet plus if because while when where although though unless whereas whether than as"
PARTICLES = "to not n't"
INTERJECTIONS = "um uh oh ah hey hi hello okay ok yeah yes yep yup no please thanks alright well wow bye hmm mhm huh"
ADVERBS = """
again ago ahead almost alone already also always anyway apart away back backwards down else enough even ever
everywhere far fast first forth forward forwards fro further here how however indeed inside instead just later least
left less maybe more most never next now nowhere often once only perhaps quite rather really right round sideways so
sometimes somewhere soon still then there therefore thus today together tomorrow tonight too twice very why yesterday
"""
ADJECTIVES = """
able bad bare basic best better big bigger bitter black blue bold bright brown busy cheap clean clear cold cool crisp
curly damp dark dead deep different dirty double dry dull dusty early easy empty entire equal extra fair fine firm
flat free fresh full funny golden good gray great green grey half happy hard heavy high hot huge important juicy large
last late lean light little live long loose loud low main medium messy metal mild moist narrow neat new nice noisy odd
old open orange other own pale perfect pink plain possible pretty pure purple quick quiet rare raw ready real red rich
ripe rotten rough round safe salty same sharp shiny short silver simple single slight slow small smooth soft solid
sore sour special spicy steady steep sticky straight strange strong sweet tall tender thick thin tight tiny top total
tough ugly violet warm weak wet white whole wide wild wooden wrong yellow young
"""
NUMBERS = """
zero two three four five six seven eight nine ten eleven twelve dozen twenty thirty forty fifty sixty hundred thousand
"""
VERBS = """
add adjust agree allow appear apply arrange arrive ask assemble attach avoid bake be beat become begin believe bend
blend blink boil bounce break bring brown brush build burn buy call carry carve catch change check cheer chew choose
chop clap clean climb close collect combine come connect consider cook cool correct cover create crumble crush cry cut
dance deal decide decorate dice die dig dip discard discuss divide do double drag drain draw dress drink drip drive
drizzle drop dry dump eat empty enjoy enter expect explain extract fall fasten feed feel fill film find finish fit fix
flash flatten flicker flip fold follow forget form freeze fry gather get give glue go grab grate grease greet grill
grind grow guess hammer hang happen happens heat help hide hit hold hop hug hurt include increase insert install join
jump keep kick kill kiss knead know laugh lay lead lean learn leave let lift line listen look loosen lose love lower
make mark marinate mash mean measure meet melt mince mix mount move need notice open pack paint pass paste peel
perform pick pinch place plant play point polish pound pour prefer prepare press pretend prove pull pulse pump push
put raise reach read receive reduce remember remind remove repair repeat replace require rest return ride rinse rise
roast roll rotate rub run sand save say scoop scrape screw scrub seal season see seem sell send separate serve set sew
shake shape sharpen shine shoot show shred shrink shut sift sign simmer sing sink sit skate skip sleep slice slide
smell smile smooth snap soak speak spill spin split spray spread sprinkle squat squeeze stack stand start stay steam
step stick stir stop store strain stretch strike subscribe suggest swap sway sweep swell swim swing switch take talk
tap taste teach tear tell test thank thaw think throw tie tighten tilt toast toss touch trace train transfer travel
treat trim try tuck turn twist type understand unscrew untie unwrap use visit wait wake walk want warm wash watch wave
wear weigh weld whirl whisk win wind wipe wish work wrap write zip
"""
IRREGULAR = """
ate began begun bent bought bound broke broken brought built burnt came caught chose chosen dealt did done drank drawn
drew driven drove drunk dug eaten fallen fed fell felt flew flown forgot forgotten fought found froze frozen gave
given goes going gone got gotten grew grown heard held hid hidden hung kept knew known laid led left lent lit lost
made meant met paid ran rang rode rose risen said sang sank sat saw seen sent sewn shaken shook shone shot shown
shrank shrunk slept slid sold spent spoke spoken spun stood stole stolen struck stuck sung swam swept swollen swum
swung taken taught thought threw thrown told took tore torn understood went woke won wore worn wound written wrote
"""
NOUN_TOO = """
bake beat bend blend boil bounce break brush burn call catch change check chop clap clean climb close cook cover
crumble cry cut dance deal dice dip double drag draw dress drink drip drive drizzle drop dump film fit flash flip fold
form freeze fry glue grease grill hammer heat help hit hold hop hug hurt jump kick kiss laugh lead lift line look love
mark mash measure mix mount move need open pack paint pass paste peel pick pinch place plant play point press pulse
pump push reach rest return ride rinse rise roast roll rub run sand save scoop scrape screw scrub seal season set
shake shape shine shoot show shred sign simmer sink skate skip sleep slice slide smell smile snap spill spin split
spray spread sprinkle squat squeeze stack stand start stay steam step stick stir stop store strain stretch strike swap
sway sweep swim swing switch talk tap taste tear test tie tilt toast toss touch trace train travel treat trim try tuck
turn twist type use visit wait walk wash watch wave whisk win wind wipe wish work wrap zip
"""


def _known() -> dict[str, str]:
    classes = (
        ("VERB", IRREGULAR), ("NUM", NUMBERS), ("ADJ", ADJECTIVES), ("ADV", ADVERBS), ("ADP", ADPOSITIONS),
        ("DET", DETERMINERS), ("PRON", PRONOUNS), ("INTJ", INTERJECTIONS), ("CCONJ", CONJUNCTIONS),
        ("AUX", AUXILIARIES), ("PART", PARTICLES),
    )  # fmt: skip
    return {word: name for name, words in classes for word in words.split()}


CLASS_OF: Mapping[str, str] = _known()
"""The class of a word that is no regular verb; where two would do, the later of the lists above."""

VERB_BASES = frozenset(VERBS.split())
NOUN_OR_VERB = frozenset(NOUN_TOO.split())
"""Verbs that are as often nouns: their neighbours decide."""
