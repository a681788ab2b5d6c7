"""Documents that markitdown turns into Markdown: PDF, HTML and DOCX in a corpus, with it and without."""

import sys
import zipfile
from pathlib import Path

import pytest

from piplay.cli.main import main
from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.search.corpus import read_corpus
from piplay.errors import InputError, InputWarning

DOCX = {
    "[Content_Types].xml": """<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml"
ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>""",
    "_rels/.rels": """<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship
Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
Target="word/document.xml"/></Relationships>""",
    "word/document.xml": """<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p>
<w:r><w:t>The letter says that Tessia is a river.</w:t></w:r></w:p></w:body></w:document>""",
}


def pdf(text: str) -> bytes:
    """One page with one line."""
    drawn = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    whole, starts = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        starts.append(len(whole))
        whole += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    end = b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % len(whole)
    return whole + b"xref\n0 6\n0000000000 65535 f \n" + table + end


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "page.html").write_text("<html><body><h1>Bor</h1><p>Bor is the capital of Elren.</p></body></html>")
    (folder / "paper.pdf").write_bytes(pdf("The mill of Arvel has nine wheels."))
    with zipfile.ZipFile(folder / "letter.docx", "w") as archive:
        for name, content in DOCX.items():
            archive.writestr(name, content)
    (folder / "plain.md").write_text("# Oland\n\nOland is far away.")
    return folder


def test_documents_are_found_by_what_they_say(folder: Path) -> None:
    pytest.importorskip("markitdown")
    searcher = BM25Searcher(read_corpus(folder, strict=True))
    queries = ["capital of Elren", "wheels of the mill", "Tessia river", "far away"]
    found = [passages[0] for passages in searcher.search(queries, 1)]
    assert [p.id for p in found] == ["page.html#1", "paper.pdf#1", "letter.docx#1", "plain.md#1"]
    assert [p.title for p in found] == ["Bor", "paper", "letter", "Oland"]
    [alone] = read_corpus(folder / "page.html")
    assert alone.text == "Bor is the capital of Elren."


def test_a_damaged_document_is_left_out_and_said(folder: Path) -> None:
    pytest.importorskip("markitdown")
    (folder / "broken.docx").write_bytes(b"no archive")
    (folder / "text.pdf").write_bytes(b"no pages")
    with pytest.warns(InputWarning, match=r"2 of \d+ passages are skipped: broken.docx cannot be read by markitdown"):
        assert len(read_corpus(folder)) == 4
    with pytest.raises(InputError, match=r"broken.docx cannot be read by markitdown"):
        read_corpus(folder, strict=True)


def test_without_markitdown_the_command_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "markitdown", None)
    with pytest.warns(InputWarning, match=r"needs markitdown: pip install 'piplay\[documents\]'"):
        assert [passage.id for passage in read_corpus(folder)] == ["plain.md#1"]
    assert main(["search", "ask", str(folder / "paper.pdf"), "mill"]) == 2
    assert "paper.pdf needs markitdown: pip install 'piplay[documents]'" in capsys.readouterr().err


def test_tables_beside_documents_of_other_kinds_are_still_what_is_read(folder: Path) -> None:
    (folder / "plain.md").unlink()
    (folder / "rows.jsonl").write_text('{"id": "a", "text": "A row."}\n')
    assert [passage.id for passage in read_corpus(folder)] == ["a"]
