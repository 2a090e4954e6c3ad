"""A recipe: what may stand in it, how `extends` merges, and what each mistake is answered with."""

import pytest

from curate.engine.plan import make_plan
from schemas.errors import CurateError, RecipeError
from schemas.recipe import build_recipe, load_recipe, packaged_recipes

BASE = 'name = "acme"\n[sources.files]\nfiles = "docs"\n'


def recipe(tmp_path, text, **overrides):
    file = tmp_path / "curate.toml"
    file.write_text(text)
    return load_recipe(file, overrides)


def error(tmp_path, text):
    with pytest.raises(CurateError) as caught:
        make_plan(recipe(tmp_path, text))
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return f"{caught.value.message} | {caught.value.hint}"


@pytest.mark.parametrize("name", packaged_recipes())
def test_a_packaged_recipe_runs_as_it_is(tmp_path, name):
    plan = make_plan(recipe(tmp_path, f'extends = "{name}"\n{BASE}'))
    assert [table.name for table in plan.tables] == list(plan.recipe.order)


def test_what_follows_overrides_the_base_key_by_key(tmp_path):
    text = f'extends = "docs"\n{BASE}[filtered.length]\ndrop.too_short = "words < 3"\n[deduplicated.minhash]\nthreshold = 0.9\n'
    made = recipe(tmp_path, text)
    steps = {step.name: step for step in made.tables["filtered"]}
    assert list(steps) == ["repair", "langid", "length"]
    assert steps["length"].drop == {"too_short": "words < 3"}
    assert make_plan(made).table("deduplicated").steps[1].options.threshold == 0.9


def test_false_switches_off_a_step_a_reason_and_a_source(tmp_path):
    made = recipe(
        tmp_path,
        f'extends = "docs"\n{BASE}[filtered]\nlangid = false\n[filtered.length]\ndrop.too_short = false\n',
    )
    assert [step.name for step in made.tables["filtered"]] == ["repair", "length"]
    assert made.tables["filtered"][1].drop == {}


def test_a_new_step_comes_last_or_where_it_says(tmp_path):
    text = f'extends = "docs"\n{BASE}[filtered.one]\nuse = "length"\n[filtered.two]\nuse = "length"\nafter = "repair"\n'
    assert [step.name for step in recipe(tmp_path, text).tables["filtered"]] == [
        "repair",
        "two",
        "langid",
        "length",
        "one",
    ]


def test_overrides_come_last(tmp_path):
    made = recipe(tmp_path, f'extends = "docs"\n{BASE}', filtered={"length": {"drop": {"too_short": False}}})
    assert made.tables["filtered"][2].drop == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[sources.files]\nfiles = "x"\n', "name"),
        (f'{BASE}extends = "docs"\n', "above the first [header]"),
        ('name = "acme"\n', "no source"),
        ('name = "Acme Docs"\n', "small letters"),
        (BASE.replace("files =", "flies ="), '"files"'),
        (f"{BASE}[filtred.langid]\n", '"filtered"'),
        (f"{BASE}[filtered.langidd]\n", '"langid"'),
        (f"{BASE}[filtered.langid]\nmodle = 'x'\n", '"model"'),
        (f"{BASE}[filtered.langid]\ndrop.x = \"languag = 'en'\"\n", '"language"'),
        (f"{BASE}[filtered.langid]\ndrop.x = \"AVG(score) > 1\"\n", "may not"),
        (f"{BASE}[filtered.langid]\ndrop.x = \"score <\"\n", "drop.x"),
        (f"{BASE}[filtered.langid]\ndrop.x = \"score + 1\"\n", "not true or false"),
        (f"{BASE}[filtered.length]\ndrop.x = \"gopher_quality.words < 3\"\n", "no column"),
        (f"{BASE}[deduplicated.minhash]\nthreshold = 7\n", "threshold"),
        (f"{BASE}[deduplicated.minhash]\n[deduplicated.length]\n", "tables of their own"),
        (f"{BASE}[documents.langid]\n", "[filtered.langid]"),
        (f'extends = "dosc"\n{BASE}', '"docs"'),
        (f'extends = "docs"\n{BASE}[filtered]\nlangidd = false\n', '"langid"'),
        (f'extends = "docs"\n{BASE}[filtered.x]\nuse = "length"\nafter = "lagnid"\n', '"langid"'),
        (f"{BASE}[filtered.langid]\ndrop.x = \"title ~ '\\d+'\"\n", "three single quotes"),
        (f"{BASE}[index]\nchunkre = 'tokens'\n", '"chunker"'),
        ('name = "acme"\n[sources.s]\nurl = "http://x/"\nfiles = "x"\n', "exactly one"),
        (f'{BASE}keep = {{ title = "string" }}\n', "every document"),
        ('name = "x"\nname = "y"\n', "no TOML"),
        ("[" * 3000, "curate.toml"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_its_place_and_a_way_out(tmp_path, text, said):
    assert said in error(tmp_path, text)


def test_an_unknown_key_names_file_and_line(tmp_path):
    assert f"{tmp_path / 'curate.toml'}:3" in error(tmp_path, BASE.replace("files =", "flies ="))


def test_extends_in_a_circle_is_named(tmp_path):
    (tmp_path / "b.toml").write_text('extends = "a.toml"\n')
    (tmp_path / "a.toml").write_text('extends = "b.toml"\n')
    with pytest.raises(RecipeError, match="circle"):
        build_recipe({"extends": "a.toml"}, path=str(tmp_path / "c.toml"))


def test_a_rule_edits_no_fingerprint_and_an_option_does(tmp_path):
    def fingerprint(more):
        return make_plan(recipe(tmp_path, f'extends = "docs"\n{BASE}{more}')).table("filtered").fingerprint

    plain = fingerprint("")
    assert fingerprint('[filtered.length]\ndrop.too_short = "words < 99"\n') == plain
    assert fingerprint("[filtered.langid]\nmax_chars = 77\n") != plain


def test_a_path_in_an_option_is_relative_to_the_recipe_and_not_in_the_fingerprint(tmp_path, monkeypatch):
    from curate.models.opening import LID_176

    plans = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        (folder / "own.ftz").write_bytes(LID_176.read_bytes())
        (folder / "curate.toml").write_text(f'{BASE}[filtered.langid]\nmodel = "own.ftz"\n')
        plans.append(make_plan(load_recipe(folder / "curate.toml")))
    assert plans[0].table("filtered").steps[0].options.model == str(tmp_path / "one" / "own.ftz")
    assert plans[0].table("filtered").fingerprint == plans[1].table("filtered").fingerprint
