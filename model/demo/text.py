"""The text that the embedded model learns, made from a seed.

Facts come from facts_*.txt and are asked in many ways; what is not among them is answered by a
sentence that says so; sums and stories are made here and in stories.py. A document is a list of
(role, text) pairs as a chat template sees them, or of one ("text", story).
"""

import pathlib

import stories

HERE = pathlib.Path(__file__).resolve().parent
FACT_FILES = ("facts_serving.txt", "facts_baton.txt", "facts_chat.txt")

UNKNOWN = ("I am a very small model and do not know that. "
           "Ask me about Baton or about serving language models.")
TOO_BIG = "Such numbers are too big for me. I only add, subtract and multiply small ones."

# {t} is a name with its article, {b} the bare name.
TERM_FORMS = (
    "What is {t}?", "What is {t}?", "What is {t}?", "What's {t}?", "Explain {t}.", "Define {b}.",
    "Can you explain {t}?", "Tell me about {t}.", "Describe {t}.", "What does {b} mean?",
    "What is meant by {t}?", "{b}?", "What do you mean by {b}?", "Explain what {t} is.",
    "Can you tell me what {t} is?", "Do you know what {t} is?", "What exactly is {t}?",
    "Give me a short definition of {b}.", "I do not know what {t} is.", "What is {b}?",
    "Explain {b} to me", "What is the meaning of {b}?", "In LLM serving, what is {t}?",
    "How would you explain {t}?", "What can you tell me about {t}?", "So what is {t}?",
    "Please explain {b} in simple words.")

# For questions as they stand.
QUESTION_FORMS = (
    "{q}", "{q}", "{q}", "{q}", "{q}", "{q}", "Please tell me: {q}", "I have a question: {q}",
    "{q} Please explain.", "Hello! {q}", "{q} Thank you.", "One more question: {q}", "So, {q}",
    "Hi, {q}", "Tell me, {q}", "And {q}", "Excuse me, {q}")

SMALL_WORDS = frozenset(
    "what who how why which where when is are do does can may under on in tell".split())
FILLERS = frozenset("a an the is are do does of to in i it for".split())
SYNONYMS = {
    "start": ("launch", "run", "boot"), "stop": ("end", "shut down"), "node": ("machine", "server"),
    "dies": ("crashes", "fails", "goes down", "is lost", "is killed"), "crashes": ("dies", "fails"),
    "fails": ("dies", "crashes"), "big": ("large",), "large": ("big",), "need": ("want", "require"),
    "use": ("employ", "have"), "make": ("create", "generate"), "good": ("useful",),
    "different": ("distinct",), "difference": ("distinction",), "happens": ("occurs",),
    "measure": ("test",), "nodes": ("machines",), "file": ("document",), "work": ("function",),
    "works": ("functions",), "model": ("network",), "choose": ("pick", "select"),
    "chosen": ("picked", "selected"), "keep": ("store",), "useful": ("good", "helpful"),
    "split": ("cut", "divided"), "build": ("compile",), "support": ("know",), "get": ("obtain",),
    "request": ("query",), "server": ("system",), "transferred": ("moved", "sent"),
    "advantage": ("benefit", "point"), "answers": ("results",), "separate": ("different",)}

SYSTEMS = ("You are a helpful assistant.", "You are Baton's demo model.", "Answer briefly.",
           "You are a friendly assistant.", "Answer the questions of the user.",
           "You help people who serve language models.", "Be polite and brief.")

NOUNS = (
    "a banana", "the moon", "a violin", "photosynthesis", "the capital of France", "a volcano",
    "the weather today", "a tiger", "gravity", "football", "the Eiffel Tower", "a black hole",
    "chess", "the best pizza", "a dinosaur", "love", "the meaning of life", "a tax return",
    "an earthquake", "the population of China", "the speed of light", "a castle", "jazz",
    "a vaccine", "the sun", "oxygen", "an atom", "the Roman Empire", "a good film", "democracy",
    "bread", "the price of gold", "a bicycle", "the Second World War", "a whale", "inflation",
    "my name", "the time", "the date today", "a rainbow", "the largest ocean", "a novel", "music",
    "the president", "a telescope", "DNA", "algebra", "a bank", "cheese", "the capital of Japan",
    "an elephant", "coffee", "tea", "a guitar", "a marathon", "your age", "the tallest mountain",
    "an airplane", "a sandwich", "Bitcoin", "a blockchain", "the stock market", "JavaScript",
    "a web browser", "a database index", "an operating system", "Photoshop", "the Bible")
ACTIONS = (
    "bake bread", "learn the piano", "cook rice", "fix my car", "lose weight", "write a letter",
    "plant a tree", "draw a cat", "win at chess", "grow tomatoes", "book a flight", "tie a tie",
    "make coffee", "clean a window", "learn French", "buy a house", "paint a wall", "find a job",
    "sleep better", "train a dog", "make a cake", "save money", "build a table",
    "reset my password")
PEOPLE = (
    "Einstein", "Napoleon", "Mozart", "the king of Spain", "Shakespeare", "Cleopatra",
    "my mother", "the mayor of Berlin", "Marie Curie", "Picasso", "Newton", "Columbus",
    "Beethoven", "Madonna")
PLACES = (
    "France", "Japan", "Brazil", "Berlin", "London", "Egypt", "India", "Canada", "Rome", "Africa",
    "New York", "Norway", "Peru", "Paris", "Texas", "Australia")
OPEN_FORMS = (
    ("How do I {}?", ACTIONS), ("How can I {}?", ACTIONS), ("Can you {}?", ACTIONS),
    ("What is the best way to {}?", ACTIONS), ("Should I {}?", ACTIONS), ("Help me {}.", ACTIONS),
    ("Who is {}?", PEOPLE), ("Who was {}?", PEOPLE), ("When was {} born?", PEOPLE),
    ("When did {} die?", PEOPLE), ("Where does {} live?", PEOPLE), ("What did {} do?", PEOPLE),
    ("What is the capital of {}?", PLACES), ("Where is {}?", PLACES),
    ("How far is it to {}?", PLACES), ("How many people live in {}?", PLACES),
    ("What is the weather in {}?", PLACES), ("Who rules {}?", PLACES),
    ("Why is {} so important?", NOUNS), ("Who invented {}?", NOUNS), ("How does {} work?", NOUNS),
    ("Do you like {}?", NOUNS), ("How old is {}?", NOUNS), ("Where can I find {}?", NOUNS),
    ("Why do people like {}?", NOUNS), ("How big is {}?", NOUNS),
    ("How much does {} cost?", NOUNS), ("What is the colour of {}?", NOUNS),
    ("What does {} do?", NOUNS), ("Is {} good for me?", NOUNS),
    ("Write an essay about {}.", NOUNS), ("How do I use {}?", NOUNS), ("Why is {} slow?", NOUNS),
    ("Translate {} into German.", NOUNS), ("What is in {}?", NOUNS))
SYLLABLES = (
    "ba", "ro", "ti", "mel", "sun", "gor", "pi", "la", "ne", "tur", "ko", "vi", "dan", "ster",
    "qua", "lo", "ric", "fen", "du", "zam", "hol", "mi", "cra", "sto", "be", "ling", "ton", "er")


def read_facts():
    """The facts: a list of (names, questions, answer)."""
    facts = []
    for name in FACT_FILES:
        names, questions = [], []
        for line in (HERE / name).read_text(encoding="utf-8").splitlines():
            kind, _, rest = line.partition(": ")
            if kind == "t":
                names += [part.strip() for part in rest.split("|")]
            elif kind == "q":
                questions.append(rest.strip())
            elif kind == "a":
                facts.append((names, questions, rest.strip()))
                names, questions = [], []
    return facts


def bare(name):
    """A name without its article."""
    first, _, rest = name.partition(" ")
    return rest if first in ("a", "an", "the") else name


def joined(form, question):
    """The question inside a sentence: small at its start after a comma or a plain word."""
    if form.index("{q}") > 0 and not form.split("{q}")[0].endswith((": ", "! ")):
        first = question.split(" ")[0]
        if first.lower() in SMALL_WORDS:
            question = question[0].lower() + question[1:]
    return form.format(q=question)


def reword(rng, question):
    """The question with other words for some of its words."""
    words = question.split(" ")
    for at, word in enumerate(words):
        plain = word.rstrip("?.!,")
        if plain in SYNONYMS and rng.random() < 0.2:
            words[at] = rng.choice(SYNONYMS[plain]) + word[len(plain):]
    if len(words) > 4 and rng.random() < 0.1:
        words = [w for w in words if w.lower() not in FILLERS] or words
    if len(words) > 4 and rng.random() < 0.08:
        del words[rng.randrange(len(words))]
    return " ".join(words)


def roughen(rng, question):
    """The question as somebody in a hurry types it."""
    if rng.random() < 0.25:
        question = question.lower()
    if rng.random() < 0.2:
        question = question.rstrip("?.!")
    return question


def upper(text):
    """The text with a capital letter at its start."""
    return text[0].upper() + text[1:]


def ask_fact(rng, fact):
    """One question for a fact, and its answer."""
    names, questions, answer = fact
    if names and (not questions or rng.random() < 0.55):
        name = rng.choice(names[:1] * 2 + names)
        text = rng.choice(TERM_FORMS).format(t=name, b=bare(name))
    else:
        text = joined(rng.choice(QUESTION_FORMS), reword(rng, rng.choice(questions)))
    return roughen(rng, upper(text)), answer


def ask_unknown(rng):
    """A question about something else, and the answer that says so."""
    dice = rng.random()
    if dice < 0.35:
        name = rng.choice(NOUNS)
        text = rng.choice(TERM_FORMS).format(t=name, b=bare(name))
    elif dice < 0.55:
        word = "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4)))
        name = rng.choice(("a ", "the ", "")) + rng.choice((word, word.capitalize()))
        form = rng.choice(TERM_FORMS + tuple(f.replace("{}", "{t}") for f, _ in OPEN_FORMS))
        text = form.format(t=name, b=bare(name))
    else:
        form, choices = rng.choice(OPEN_FORMS)
        text = form.format(rng.choice(choices))
        if rng.random() < 0.3:
            text = joined(rng.choice(QUESTION_FORMS), text)
    return roughen(rng, upper(text)), UNKNOWN


def ask_sum(rng):
    """A sum and its result."""
    sign, word = rng.choice((("+", "plus"), ("-", "minus"), ("*", "times")))
    if rng.random() < 0.06:
        a, b = rng.randint(200, 99999), rng.randint(2, 99999)
        answer = TOO_BIG
    else:
        a, b = (rng.randint(0, 10 if sign == "*" else 20) for _ in range(2))
        a, b = (max(a, b), min(a, b)) if sign == "-" else (a, b)
        result = {"+": a + b, "-": a - b, "*": a * b}[sign]
        answer = f"{a} {sign} {b} = {result}."
    shown = rng.choice((f"{a} {sign} {b}", f"{a} {word} {b}", f"{a}{sign}{b}", f"{a} {word} {b}"))
    form = rng.choice(("What is {}?", "How much is {}?", "{}", "{} = ?", "{}?", "Calculate {}.",
                       "What's {}?", "Please compute {}.", "Can you tell me what {} is?"))
    return roughen(rng, form.format(shown)), answer


def normal(question):
    """The question without case, marks and spaces: two that agree in it count as one."""
    return "".join(c for c in question.lower() if c.isalnum())


def read_exam(name="exam.txt"):
    """The questions of an examination, with the word that each answer must contain."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines if line and not line.startswith("#")]


def turn(rng, facts, exam):
    """One question and its answer, but none of those in the set `exam`."""
    while True:
        question, answer = any_turn(rng, facts)
        if normal(question) not in exam:
            return question, answer


def any_turn(rng, facts):
    """One question of any kind, and its answer."""
    dice = rng.random()
    if dice < 0.60:  # what is asked in many ways is asked more often
        weights = [4 + len(questions) for _, questions, _ in facts]
        return ask_fact(rng, rng.choices(facts, weights)[0])
    if dice < 0.74:
        return ask_unknown(rng)
    if dice < 0.94:
        return ask_sum(rng)
    return stories.request(rng)


def document(rng, facts, exam):
    """A story, or a conversation of one to six turns."""
    if rng.random() < 0.06:
        return [("text", stories.story(rng))]
    messages = []
    if rng.random() < 0.12:
        messages.append(("system", rng.choice(SYSTEMS)))
    for _ in range(1 if rng.random() < 0.6 else rng.randint(2, 6)):
        question, answer = turn(rng, facts, exam)
        messages += [("user", question), ("assistant", answer)]
    return messages
