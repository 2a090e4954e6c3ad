"""Translations of a page, and its variants of another region that differ in wording, are no copies of each other."""

import pytest

from curate.lake.lake import Lake
from tests.lakes import run, write_jsonl

PAGE = {
    "en-US": "Before you fill the tank of a rented truck, check the color of the label beside the gas cap: green means diesel, "
    "and yellow means gasoline. Park in the lot behind the store, take the elevator to the first floor, and leave the "
    "keys with the attendant. If nobody is there, drop them through the mail slot and call the number on your ticket.",
    "en-GB": "Look at the colour of the sticker next to the petrol cap before filling up a hired lorry: a green one stands for "
    "diesel, a yellow one for petrol. Use the car park at the back of the shop, go down in the lift to the ground floor "
    "and hand your keys to whoever is on duty. Should the desk be empty, put them in the letterbox and ring us.",
    "de-DE": "Prüfen Sie vor dem Tanken eines gemieteten Lastwagens die Farbe des Aufklebers neben dem Tankdeckel: Grün heißt "
    "Diesel, Gelb heißt Benzin. Parken Sie auf dem Platz hinter dem Laden, fahren Sie mit dem Aufzug ins Erdgeschoss und "
    "geben Sie die Schlüssel dem Wärter. Ist niemand da, werfen Sie sie in den Briefkasten und rufen Sie uns an.",
    "de-CH": "Schauen Sie auf die Farbe des Klebers beim Tankdeckel, bevor Sie einen gemieteten Camion auftanken: Grün steht für "
    "Diesel, Gelb für Benzin. Parkieren Sie hinter dem Geschäft, nehmen Sie den Lift ins Parterre und übergeben Sie die "
    "Schlüssel der Aufsicht. Falls der Schalter leer ist, legen Sie sie in den Kasten und telefonieren Sie uns.",
    "pt-PT": "Antes de abastecer o camião alugado, veja a cor do autocolante junto à tampa do depósito: verde quer dizer gasóleo, "
    "amarelo quer dizer gasolina. Estacione no parque atrás da loja, apanhe o elevador até ao rés do chão e entregue as "
    "chaves ao funcionário. Se não estiver lá ninguém, deite-as na caixa do correio e telefone-nos.",
    "pt-BR": "Confira a cor do adesivo ao lado da tampa do tanque antes de encher o caminhão que você alugou: o verde é diesel e o "
    "amarelo é gasolina. Deixe o veículo no estacionamento nos fundos da loja, pegue o elevador até o térreo e dê as "
    "chaves para o atendente. Caso não tenha ninguém, coloque na caixa de correspondência e ligue para a gente.",
    "fr": "Avant de faire le plein d'un camion de location, vérifiez la couleur de l'étiquette à côté du bouchon : le vert "
    "désigne le gazole, le jaune l'essence. Garez-vous derrière le magasin, prenez l'ascenseur jusqu'au rez-de-chaussée et "
    "remettez les clés au gardien. S'il n'y a personne, glissez-les dans la boîte aux lettres et appelez-nous.",
}


@pytest.mark.parametrize(
    "steps",
    [
        '[deduplicated.exact]\nby = "normalized"\n[deduplicated.minhash]\n',
        pytest.param("[deduplicated.minhash]\nthreshold = 0.3\n", marks=pytest.mark.slow),
        pytest.param('[deduplicated.minhash]\nsimilarity = "containment"\n', marks=pytest.mark.slow),
        "[deduplicated.semantic]\n",
    ],
)
def test_they_all_stay(tmp_path, steps):
    write_jsonl(tmp_path / "pages.jsonl", [{"text": text, "title": name} for name, text in PAGE.items()])
    head = 'name = "pages"\norder = ["documents", "deduplicated", "corpus"]\n[sources.files]\nfiles = "pages.jsonl"\n'
    (tmp_path / "curate.toml").write_text(f"{head}{steps}")
    run(tmp_path / "curate.toml")
    product = Lake(tmp_path / "lake").read("pages", "corpus").select("title", "stands_for").collect()
    assert dict(product.iter_rows()) == dict.fromkeys(PAGE, 1)
