"""The table of commands. A command's module is imported when it is called, and imports nothing heavy itself."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

from cyclopts import App, CycloptsError, Group, UnknownCommandError

from schemas.errors import UsageError, did_you_mean

SUMMARY = "From raw pages and files to clean, versioned corpora and trusted indexes."
GROUPS = {
    "Start": ("init", "run", "clean", "dedup", "search", "ui"),
    "Look": ("plan", "why", "diff", "log", "show", "label"),
    "Give": ("export",),
    "Keep": ("check", "doctor", "lake", "index"),
    "Train": ("train",),
}
# What the overview says: the first line of the command's docstring (a test compares).
COMMANDS = {
    "init": "Look at a site or at files, and write a recipe that fits.",
    "run": "Make a recipe's tables and index; only what is missing.",
    "clean": "Clean some files once, without a lake.",
    "dedup": "Drop copies and near-duplicates of some files, once.",
    "search": "Ask the live index a question.",
    "ui": "Open a recipe and its lake in Dagster, until Ctrl-C.",
    "plan": "Show a recipe as it resolves, and what it would change.",
    "why": "Explain why a document is in the corpus or not.",
    "diff": "Show what changed between two versions or recipes, and why.",
    "log": "Show the versions of a lake.",
    "show": "Show what is in a lake, or some rows of a table.",
    "label": "Label documents at the edge of a rule, and test it so.",
    "export": "Make a training set of the corpus, with a data card.",
    "check": "Try a recipe on a sample, and say what is wrong with it.",
    "doctor": "Check the installation, and say how to mend it.",
}
FAMILY_SUMMARY = {
    "lake": "Look after a lake: verify, gc, rollback, tag.",
    "index": "Choose the index that answers: list, promote, rollback.",
    "train": "Train: a tokenizer on the corpus, a classifier on labels.",
}
FAMILIES = {
    "lake": {
        "verify": "Check that everything the lake refers to is there and whole.",
        "gc": "Delete what no kept version needs.",
        "rollback": "Publish an earlier version again.",
        "tag": "Name the newest version.",
    },
    "index": {
        "list": "List the index versions.",
        "promote": "Make an index version live, if its gates passed.",
        "rollback": "Make the index live that was live before.",
    },
    "train": {
        "tokenizer": "Train a tokenizer on the corpus, and show how it does.",
        "classifier": "Train a classifier on labelled texts, and show how it does.",
    },
}


def make_app(tokens: Sequence[str] = ()) -> App:
    """The application for a command line.

    The overview prints the summaries above and imports no command. A command that is called prints its
    whole docstring, which a summary given here would hide.
    """
    named = set(tokens[:2])
    app = App(
        name="curate",
        help=SUMMARY,
        help_epilogue="curate COMMAND --help shows an example. --debug shows tracebacks.",
        version=lambda: metadata.version("curate"),
        help_format="markdown" if tokens and tokens[0] in {*COMMANDS, *FAMILIES} else "plaintext",
        suppress_keyboard_interrupt=False,
    )
    for title, names in GROUPS.items():
        group = Group.create_ordered(title)
        for number, name in enumerate(names):
            if name in FAMILIES:
                app.command(_family(name, named, group, number))
            else:
                summary = None if name in named else COMMANDS[name]
                path = f"curate.cli.{name}:{name}"
                app.command(path, name=name, help=summary, group=group, sort_key=number)
    flags = Group.create_ordered("Options")
    app["--help"].group = app["--version"].group = (flags,)
    return app


def _family(family: str, named: set[str], group: Group, place: int) -> App:
    """`curate lake verify` and its like."""
    members = FAMILIES[family]
    app = App(name=family, help=FAMILY_SUMMARY[family], group=group, sort_key=place)
    for number, (name, summary) in enumerate(members.items()):
        shown = None if {family, name} <= named else summary
        function = "list_" if name == "list" else name
        app.command(f"curate.cli.{family}:{function}", name=name, help=shown, sort_key=number)
    return app


def misuse(error: CycloptsError) -> UsageError:
    """A command line that cannot be parsed, as an error of ours."""
    chain = " ".join(["curate", *(error.command_chain or ())])
    hint = f"{chain} --help shows how it is called."
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        family = chain.split()[1:]
        names = FAMILIES[family[0]] if family else {**COMMANDS, **FAMILIES}
        found = error.unused_tokens[0]
        return UsageError(f'{chain} has no command "{found}".', hint=f"{did_you_mean(found, names)} {hint}")
    return UsageError(str(error), hint=hint)
