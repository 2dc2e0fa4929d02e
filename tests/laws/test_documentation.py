"""The table of parameters in the recipe's documentation is the one that the declarations give."""

from pathlib import Path

from verl_softthink.laws import LAWS
from verl_softthink.laws.documentation import parameter_table

README = Path(__file__).parents[2] / "recipes" / "soft_grpo" / "README.md"
BEGIN, END = "<!-- parameters of the laws -->\n", "\n<!-- end -->"


def test_the_table_in_the_readme_is_up_to_date():
    written = README.read_text().partition(BEGIN)[2].partition(END)[0]
    assert written == parameter_table(LAWS.own), "put in what laws.documentation.parameter_table gives"


def test_each_parameter_has_a_row_with_its_laws():
    rows = parameter_table(LAWS.own).splitlines()[2:]
    assert sum("`softthink.law.tau`" in row for row in rows) == 1
    for law in LAWS.own:
        for parameter in law.parameters:
            (row,) = [row for row in rows if row.startswith(f"| `softthink.law.{parameter.name}` |")]
            assert f"`{law.name}`" in row and f"`{parameter.default}`" in row and parameter.doc in row
