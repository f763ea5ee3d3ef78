"""Short stories from a grammar, as text for the embedded model to learn English sentences from.

A story is seven sentences or so: somebody somewhere, a wish or a trouble, a meeting, a turn, an
end. All choices come from the generator passed in.
"""

ANIMALS = (
    "fox", "bear", "rabbit", "mouse", "owl", "cat", "dog", "horse", "duck", "frog", "hedgehog",
    "squirrel", "goat", "sheep", "crow", "turtle")
CHILDREN = (("Anna", "she"), ("Tom", "he"), ("Mia", "she"), ("Ben", "he"), ("Lily", "she"),
            ("Max", "he"), ("Nora", "she"), ("Sam", "he"), ("Ella", "she"), ("Paul", "he"))
MOODS = ("little", "young", "curious", "brave", "quiet", "clever", "old", "friendly", "shy",
         "merry")
PLACES = (
    "in a deep forest", "by a clear river", "on a green hill", "near a small village",
    "at the edge of a wide field", "in a white house by the sea", "beside an old mill",
    "in a valley between two mountains")
THINGS = ("lantern", "boat", "kite", "key", "drum", "map", "red hat", "silver bell", "blanket",
          "basket of apples", "wooden flute", "golden feather")
LOST_AT = ("under an old tree", "behind a large stone", "in the tall grass", "near the bridge",
           "on a branch of a tree", "beside the path", "at the bottom of the garden")
TIMES = ("One morning", "One evening", "One sunny day", "One cold winter day", "One day in spring",
         "One rainy afternoon")
PRONOUNS = {"she": ("she", "her", "her"), "he": ("he", "him", "his"), "it": ("it", "it", "its")}
ENDS = ("From that day on they were the best of friends.",
        "And that evening they sat together and looked at the stars.",
        "They laughed, and then they went home together.",
        "Everyone was glad, and there was cake for all.",
        "And if they have not moved away, they still live there today.",
        "That night {name} slept well and dreamt of the next day.")
MORALS = ("So it is good to share.", "It is easier to carry something together.",
          "A kind word opens many doors.", "Even the smallest can help.",
          "Who asks for help will find it.")


def article(noun):
    """The noun with a or an."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun


class Cast:
    """Who and what a story is about."""

    def __init__(self, rng, about=None):
        self.animal = about if about in ANIMALS else None
        if self.animal is None and about is None and rng.random() < 0.4:
            name, pronoun = rng.choice(CHILDREN)
            self.name, self.intro = name, f"{article(rng.choice(MOODS))} child called {name}"
        else:
            self.animal = self.animal or rng.choice(ANIMALS)
            self.name, pronoun = f"the {self.animal}", "it"
            self.intro = article(f"{rng.choice(MOODS)} {self.animal}")
        self.they, self.them, self.their = PRONOUNS[pronoun]
        self.friend = rng.choice([a for a in ANIMALS if a != self.animal])
        self.thing = rng.choice(THINGS)


def opening(rng, cast):
    """Who lived where."""
    return rng.choice((
        f"Once upon a time there was {cast.intro} who lived {rng.choice(PLACES)}.",
        f"There once was {cast.intro} who lived {rng.choice(PLACES)}.",
        f"Long ago {cast.intro} lived {rng.choice(PLACES)}."))


def lost_and_found(rng, cast):
    """A thing is lost and found with a friend's help."""
    name, they, their = cast.name, cast.they, cast.their
    return [
        f"{name} had {article(cast.thing)} and loved it very much.",
        f"{rng.choice(TIMES)} the {cast.thing} was gone.",
        rng.choice((f"{name} looked everywhere, but {they} could not find it.",
                    f"{name} was sad and began to cry.")),
        f"Then {article(cast.friend)} came along and asked, \"What is wrong?\"",
        f"\"I have lost my {cast.thing},\" said {name}.",
        rng.choice((f"\"I will help you,\" said the {cast.friend}.",
                    f"\"Let us look for it together,\" said the {cast.friend}.")),
        f"They searched for a long time, and at last they found it {rng.choice(LOST_AT)}.",
        rng.choice((f"{name} thanked the {cast.friend} with all {their} heart.",
                    f"{name} was so happy that {they} danced around the {cast.friend}."))]


def a_journey(rng, cast):
    """A journey with an obstacle."""
    name, they = cast.name, cast.they
    goal = rng.choice(("see the sea", "find the end of the rainbow", "visit the moon",
                       "climb the highest mountain", "hear the wind sing"))
    obstacle, way = rng.choice((
        ("a wide river", "built a raft out of old branches"),
        ("a dark cave", "lit a small fire and went through it side by side"),
        ("a high wall", "climbed on each other's shoulders"),
        ("a deep snow field", "made shoes out of bark and walked across")))
    return [
        f"{name} wanted to {goal}.",
        f"{rng.choice(TIMES)} {they} took {article(cast.thing)} and set out.",
        f"On the way {they} met {article(cast.friend)} who was tired and hungry.",
        f"{name} shared {cast.their} bread, and they went on together.",
        f"Soon they came to {obstacle}.",
        f"\"We cannot go on,\" said the {cast.friend}.",
        f"\"Yes, we can,\" said {name}, and they {way}.",
        f"In the end they could {goal}, and it was even more beautiful than they had thought."]


def a_gift(rng, cast):
    """A gift that makes a friend."""
    name, they = cast.name, cast.they
    return [
        f"{rng.choice(TIMES)} {name} found {article(cast.thing)} {rng.choice(LOST_AT)}.",
        f"\"Whose is this?\" {they} asked.",
        f"{name} asked everyone in the neighbourhood, but nobody knew.",
        f"At last {they} came to the house of {article(cast.friend)}.",
        rng.choice((f"The {cast.friend} lived alone and had no friends.",
                    f"The {cast.friend} was ill and could not go out.")),
        f"\"That is my {cast.thing}!\" cried the {cast.friend}. \"You have brought it back.\"",
        f"{name} came again the next day, and the day after that."]


def story(rng, about=None):
    """One story; `about` may name an animal."""
    cast = Cast(rng, about)
    plot = rng.choice((lost_and_found, a_journey, a_gift))
    sentences = [opening(rng, cast)] + plot(rng, cast)
    sentences.append(rng.choice(ENDS).format(name=cast.name))
    if rng.random() < 0.4:
        sentences.append(rng.choice(MORALS))
    return " ".join(s[0].upper() + s[1:] for s in sentences)


def request(rng):
    """A question that asks for a story, and the story."""
    if rng.random() < 0.5:
        about = rng.choice(ANIMALS)
        ask = rng.choice(("Tell me a story about {}.", "Write a short story about {}.",
                          "Can you tell me a story about {}?", "Please tell a tale about {}.",
                          "I would like a story about {}.", "A story about {}, please.",
                          "story about {}", "Do you know a story about {}?"))
        return ask.format(article(about)), story(rng, about)
    return rng.choice(("Tell me a story.", "Write a short story.", "Can you tell me a story?",
                       "Please tell me a tale.", "I would like to hear a story.",
                       "A story, please!", "Do you know a story?", "Tell me another story.",
                       "Make up a story.", "Once more a story, please.")), story(rng)
