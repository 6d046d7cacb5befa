"""Text files as people have them: every way to write a value gives the same table, read whole and in pieces."""

import math
import re
import sqlite3
import warnings
from contextlib import closing

import numpy as np
import pandas as pd
import pytest

from vae_anomaly.data.schema import Schema
from vae_anomaly.errors import DataError, DataWarning
from vae_anomaly.io.dataset import Dataset
from vae_anomaly.io.read import read_table, read_whole


@pytest.fixture(params=["whole", "in pieces"])
def read(request, tmp_path, monkeypatch):
    """Read text, whole or three rows at a time: ``read("a,b\\n1,2\\n")``."""
    monkeypatch.setattr("vae_anomaly.io.pieces.MOST_ROWS", 3)

    def read(text: str, **options: object) -> pd.DataFrame:
        path = tmp_path / "table.csv"
        path.write_text(text, encoding="utf-8")
        if request.param == "whole":
            return read_table(path, **options)
        return pd.concat(list(Dataset(path, **options)))

    return read


def column(read, cells, name="x", delimiter=",", **options):
    """The column as plain values, None where missing."""
    quoted = ['"' + cell + '"' for cell in cells]
    found = read("\n".join([f"{name}{delimiter}n", *(f"{cell}{delimiter}1" for cell in quoted)]) + "\n", **options)[
        name
    ]
    return [None if gap else value for value, gap in zip(found.tolist(), found.isna(), strict=True)]


NUMBERS = {
    "thousands": (["1,234.56", "950,000.00", "3.5", "1,000"], [1234.56, 950000, 3.5, 1000]),
    "thousands alone, with points elsewhere": (["1,234", "12.5"], [1234, 12.5]),
    "thousands of millions": (["1,234,567", "2,000,000"], [1234567, 2000000]),
    "dollars": (["$12.50", "-$3.00", "$1,200.00"], [12.5, -3, 1200]),
    "euros after the number": (["12.50 €", "3.00€", "4"], [12.5, 3, 4]),
    "currencies by code": (["USD 12", "USD 3.5"], [12, 3.5]),
    "percent": (["12 %", "3.5%", "100 %"], [12, 3.5, 100]),
    "apostrophes": (["1'234", "12'000.5"], [1234, 12000.5]),
    "spaces around": ([" 1.5", "2 "], [1.5, 2]),
    "signs": (["+1", "-2"], [1, -2]),
    "gaps": (["1", "", "NA", "2.5"], [1, None, None, 2.5]),
    "whole numbers beyond float64, with gaps": (["9007199254740993", "", "1"], [9007199254740993, None, 1]),
    "19 digits": (["1582218195625939001", "", "1582218195625939002"], [1582218195625939001, None, 1582218195625939002]),
    "from 2**63, with NA and gaps": (["9223372036854775808", "NA", "", "5"], [9223372036854775808, None, None, 5]),
    "beyond 64 bits: codes": (["99999999999999999999999", "1"], ["99999999999999999999999", "1"]),
    "parentheses": (["(1,234.56)", "12.50", "( 3.00 )"], [-1234.56, 12.5, -3]),
    "parentheses and whole numbers": (["(5)", "12", "1,204,000"], [-5, 12, 1204000]),
    "parentheses and currencies": (["($5.00)", "$(1,000.50)", "$ (2)", "$7"], [-5, -1000.5, -2, 7]),
    "parentheses alone": (["(1,234.50)", "(12.00)"], [-1234.5, -12]),
    "parentheses of codes": (["(1)", "(2)", "(3)"], ["(1)", "(2)", "(3)"]),
    "parentheses of pairs": (["(1,5)", "(12,25)"], ["(1,5)", "(12,25)"]),
    "parentheses of versions": (["(1.5)", "(12.25)"], ["(1.5)", "(12.25)"]),
    "sign at the end": (["1,234.56-", "12.50", "3.00 -"], [-1234.56, 12.5, -3]),
    "sign at the end, with whole numbers": (["5-", "12", "1,204,000"], [-5, 12, 1204000]),
    "sign at the end of grades": (["1-", "2", "3-"], ["1-", "2", "3-"]),
    "sign at the end before currencies": (["5.00-$", "2.00 $"], [-5, 2]),
    "sign of print": (["\u22125.5", "2", "$"], ["\u22125.5", "2", "$"]),
    "sign of print, in numbers": (["\u22125.5", "2", "3\u2212"], [-5.5, 2, -3]),
    "Indian groups": (["12,34,567.89", "1,23,456", "99,999", "5"], [1234567.89, 123456, 99999, 5]),
    "Indian groups alone": (["1,00,00,000", "12,34,567"], [10000000, 1234567]),
    "Indian rupees": (["₹12,34,567.50", "₹(1,23,456)"], [1234567.5, -123456]),
    "no groups": (["1,2,345", "12,3,4"], ["1,2,345", "12,3,4"]),
    "two currencies: text": (["$5", "€5"], ["$5", "€5"]),
    "no groups of three": (["1,23", "12,3456"], [1.23, 12.3456]),
    "points and commas: text": (["1,23", "4.5", "6.5"], ["1,23", "4.5", "6.5"]),
    "codes": (["A3", "12", "B9"], ["A3", "12", "B9"]),
    "truth values": (["True", "FALSE", ""], [True, False, None]),
}


@pytest.mark.parametrize("cells, expected", NUMBERS.values(), ids=NUMBERS)
def test_numbers_are_read_where_a_column_agrees_with_itself(read, cells, expected):
    assert column(read, cells) == expected


def test_a_number_of_another_notation_is_a_cell_that_cannot_be_read(read):
    assert column(read, ["0.05"] * 20 + ["5%"])[-1] == "5%"
    assert column(read, ["5%"] * 20 + ["0.05"])[-1] == "0.05"
    assert column(read, ["5%"] * 20 + ["all"])[-1] == "all"
    assert column(read, ["$5"] * 20 + ["€5"])[-1] == "€5"


@pytest.mark.parametrize(
    "text", ["e5", "--1", "-+1", "-$-5", "+.", "$e7", "(-1)", "-(1)", "(1", "1)", "-1-", "(1)-", "1--", "()"]
)
def test_signs_of_a_number_alone_are_none(read, text):
    assert column(read, ["0.5"] * 20 + [text])[-1] == text


EUROPEAN = {
    "decimal commas": (["1,5", "2,25"], [1.5, 2.25]),
    "thousands": (["1.234,56", "950.000,00", "3"], [1234.56, 950000, 3]),
    "thousands alone, with commas elsewhere": (["1.234", "12,5"], [1234, 12.5]),
    "euros": (["12,50 €", "1.200,00 €"], [12.5, 1200]),
    "currencies by code": (["12,50 EUR", "1.200,00 EUR"], [12.5, 1200]),
    "parentheses": (["(1.234,56)", "12,50", "(3)"], [-1234.56, 12.5, -3]),
    "parentheses and euros": (["(1.234,56 €)", "(12,50) €", "3,00 €"], [-1234.56, -12.5, 3]),
    "parentheses alone": (["(1.234,56)", "(12,50)"], [-1234.56, -12.5]),
    "sign at the end": (["1.234,56-", "12,50", "3-"], [-1234.56, 12.5, -3]),
    "sign at the end alone": (["12,50-", "3,75-"], [-12.5, -3.75]),
    "codes before": (["EUR -12,50", "EUR 3"], [-12.5, 3]),
    "spaces that do not break": (["1\u202f234,5", "12\u00a0000,0"], [1234.5, 12000]),
}


@pytest.mark.parametrize("cells, expected", EUROPEAN.values(), ids=EUROPEAN)
def test_numbers_with_decimal_commas(read, cells, expected):
    assert column(read, cells, delimiter=";") == expected


DATES = {
    "points": (["31.12.2024", "1.2.2024", ""], ["2024-12-31", "2024-02-01", None]),
    "month first": (["12/31/2024", "1/2/2024"], ["2024-12-31", "2024-01-02"]),
    "day first": (["31/12/2024", "1/2/2024 7:05"], ["2024-12-31", "2024-02-01T07:05"]),
    "afternoon": (["12/31/2024 7:05 PM", "1/2/2024 12:10 am"], ["2024-12-31T19:05", "2024-01-02T00:10"]),
    "months by name": (["Mar-2018", "Dec 2019", "May-2018"], ["2018-03-01", "2019-12-01", "2018-05-01"]),
    "months by number": (["2018-03", "2019/12"], ["2018-03-01", "2019-12-01"]),
    "month before year": (["03/2018", "12/2019"], ["2018-03-01", "2019-12-01"]),
    "days and months by name": (["5 March 2018", "31-Dec-2019 7:05"], ["2018-03-05", "2019-12-31T07:05"]),
    "months by name and days": (["March 5, 2018", "Dec. 31 2019"], ["2018-03-05", "2019-12-31"]),
    "times": (["7:10", "23:59:59", "00:00", ""], ["07:10", "23:59:59", "00:00", None]),
    "a.m. and p.m.": (
        ["7:10 a.m.", "12:05 PM", "12:05 am", "11:59:30pm"],
        ["07:10", "12:05", "00:05", "23:59:30"],
    ),
    "durations beyond a day": (["75:30", "12:10"], ["75:30", "12:10"]),
    "part numbers": (["4711-03", "4712-04"], ["4711-03", "4712-04"]),
    "year first": (["2024/12/31", "2024/1/2 07:05:30"], ["2024-12-31", "2024-01-02T07:05:30"]),
    "year first with points": (["2024.12.31", "2024.1.2"], ["2024-12-31", "2024-01-02"]),
    "German": (["31. Dezember 2024", "1. März 2024", "5. Mär. 2024"], ["2024-12-31", "2024-03-01", "2024-03-05"]),
    "German, short": (["31-Dez-2024", "1-Mai-2024", "2-Okt-2024"], ["2024-12-31", "2024-05-01", "2024-10-02"]),
    "German months": (["Jänner 2024", "Juli 2023", "DEZ 2022"], ["2024-01-01", "2023-07-01", "2022-12-01"]),
    "French": (["1er août 2024", "31 déc. 2024", "2 FÉVRIER 2024"], ["2024-08-01", "2024-12-31", "2024-02-02"]),
    "French months": (["juil. 2024", "aout 2023", "mars-2022"], ["2024-07-01", "2023-08-01", "2022-03-01"]),
    "Spanish": (["31 de diciembre de 2024", "1 ene 2024", "2-abr-2024"], ["2024-12-31", "2024-01-01", "2024-04-02"]),
    "ordinals": (["March 1st, 2018", "22nd May 2018"], ["2018-03-01", "2018-05-22"]),
    "o'clock": (["31.12.2024 7:05 Uhr", "1.2.2024, 14:30 Uhr"], ["2024-12-31T07:05", "2024-02-01T14:30"]),
    "fractions of seconds": (["31.12.2024 7:05:09.25", "1.2.2024"], ["2024-12-31T07:05:09.25", "2024-02-01"]),
    "words that begin like months": (["Marketing 2018", "Mayer 2019"], ["Marketing 2018", "Mayer 2019"]),
    "codes of two digits": (["10-11-12", "13-10-11"], ["10-11-12", "13-10-11"]),
}


@pytest.mark.parametrize("cells, expected", DATES.values(), ids=DATES)
def test_dates_are_read_where_the_file_shows_the_order(read, cells, expected):
    assert column(read, cells) == expected


SHORT = {
    "points": (["31.12.24", "1. 2. 99"], ["2024-12-31", "1999-02-01"], r"31.12.24: 2024-12-31"),
    "day first": (["31/12/29", "1/2/30 7:05"], ["2029-12-31", "1930-02-01T07:05"], r"31/12/29: 2029-12-31"),
    "month first": (["12/31/24", "1/2/24"], ["2024-12-31", "2024-01-02"], r"12/31/24: 2024-12-31"),
    "months": (["Dez-24", "Mar-68", "jan-05"], ["2024-12-01", "1968-03-01", "2005-01-01"], r"Dez-24: 2024-12-01"),
    "names": (["31-Dec-24", "1 ene 68"], ["2024-12-31", "1968-01-01"], r"31-Dec-24: 2024-12-31"),
}


@pytest.mark.parametrize("cells, expected, shown", SHORT.values(), ids=SHORT)
def test_years_of_two_digits_are_read_and_said(read, cells, expected, shown):
    with pytest.warns(DataWarning, match=rf"Dates of 'x' \({shown}\) are read with years from 1930 to 2029") as said:
        assert column(read, cells) == expected
    assert len(said) == 1


YEARS_FIRST = {
    "beyond days": (["99.12.31", "01.02.03", "00.01.05 7:05"], ["1999-12-31", "2001-02-03", "2000-01-05T07:05"]),
    "slashes": (["99/12/31", "24/02/03"], ["1999-12-31", "2024-02-03"]),
    "a year of days": (
        [f"23.{month:02}.{day:02}" for month in (1, 3) for day in range(1, 32)],
        [f"2023-{month:02}-{day:02}" for month in (1, 3) for day in range(1, 32)],
    ),
    "years of one day": (
        [f"23.01.{year:02}" for year in range(1, 30)],
        [f"20{year:02}-01-23" for year in range(1, 30)],
    ),
    "both orders": (["99.12.31", "31.12.99"], ["99.12.31", "31.12.99"]),
}


@pytest.mark.parametrize("cells, expected", YEARS_FIRST.values(), ids=YEARS_FIRST)
@pytest.mark.filterwarnings("ignore:Dates of 'x'")
def test_a_year_of_two_digits_is_first_where_the_column_shows_it(read, cells, expected):
    assert column(read, cells) == expected


@pytest.mark.parametrize("first, iso", [("99.12.31", "1999-12-31"), ("24.01.05", "2005-01-24")], ids=["year", "day"])
def test_the_reading_of_a_year_of_two_digits_is_said(read, first, iso):
    with pytest.warns(DataWarning, match=rf"Dates of 'x' \({first}: {iso}\) are read with years from 1930 to 2029"):
        column(read, [first, "23.01.05"])


def test_versions_are_no_dates(read):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert column(read, ["1.2.24", "1.14.2", "2.0.1"]) == ["1.2.24", "1.14.2", "2.0.1"]


OPEN = ["01/02/2024", "03/04/2024"]


@pytest.mark.parametrize(
    "delimiter, expected, message",
    [
        (",", ["2024-01-02", "2024-03-04"], "with the month first; no cell shows the order. .* say --dayfirst"),
        (";", ["2024-02-01", "2024-04-03"], "with the day first; no cell shows the order. .* say --monthfirst"),
    ],
    ids=["comma", "semicolon"],
)
def test_the_order_that_was_taken_is_said_where_no_cell_shows_it(read, delimiter, expected, message):
    with pytest.warns(DataWarning, match=rf"Dates of 'x' \(01/02/2024\) are read {message}"):
        assert column(read, OPEN, delimiter=delimiter) == expected


def test_the_order_is_that_of_another_column_or_of_a_later_row(read, monkeypatch):
    found = read("x,y\n" + "01/02/2024,31/12/2024\n" * 5)
    assert {*found["x"]} == {"2024-02-01"}
    monkeypatch.setattr("vae_anomaly.io.csv._SNIFFED", 3)
    found = read("x,y\n" + "01/02/2024,1\n" * 5 + "31/12/2024,1\n")
    assert found["x"].tolist() == ["2024-02-01"] * 5 + ["2024-12-31"]


def test_dates_of_both_orders_are_text_and_named(read):
    cells = ["31/12/2024", "12/31/2024"]
    with pytest.warns(DataWarning, match=r"Dates of 'x' \(31/12/2024 and 12/31/2024\) have both"):
        assert column(read, cells) == cells


def test_a_few_dates_of_the_other_order_are_cells_that_cannot_be_read(read):
    assert column(read, ["12/31/2024"] * 20 + ["31/12/2024"])[-1] == "31/12/2024"


def test_options_say_what_a_file_does_not_show(read):
    assert column(read, OPEN, day_first=True) == ["2024-02-01", "2024-04-03"]
    assert column(read, OPEN, day_first=False) == ["2024-01-02", "2024-03-04"]
    assert column(read, ["1,234", "2,345"], decimal=",") == [1.234, 2.345]
    assert column(read, ["1,234", "2,345"], decimal=".") == [1234, 2345]
    assert column(read, ["1.234", "2.345"], decimal=",") == [1234, 2345]
    assert column(read, ["1.234", "2.345"], thousands=".") == [1234, 2345]
    assert column(read, ["1 234.5", "12 345"], thousands=" ") == [1234.5, 12345]
    assert column(read, ["1_234", "2_345.5"], thousands="_") == [1234, 2345.5]


def test_a_comma_that_may_be_either_sign_is_said(read):
    with pytest.warns(DataWarning, match=r"Numbers of 'x' \(1,234\) are read with a comma between thousands; "):
        assert column(read, ["1,234", "2,345"]) == [1234, 2345]
    with pytest.warns(DataWarning, match=r"with a decimal comma; no cell shows another sign.* say --decimal '.'"):
        assert column(read, ["1,234", "2,345"], delimiter=";") == [1.234, 2.345]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert column(read, ["1,234,567", "2,345"]) == [1234567, 2345]


def test_a_text_shows_no_decimal_sign(read):
    found = read("place;amount\n" + "Room 3,12;1.5\nRoom 12,5;2.25\n" * 3)
    assert found["amount"].tolist() == [1.5, 2.25] * 3
    found = read("place,amount\n" + '"Room 3,12","1,234"\n"Room 4,12","9,500,000"\n' * 3)
    assert found["amount"].tolist() == [1234, 9_500_000] * 3


def test_each_column_has_its_own_decimal_sign(read):
    found = read("a;b\n" + "1,5;48.1374\n2,25;48.137\n" * 3)
    assert found["a"].tolist() == [1.5, 2.25] * 3
    assert found["b"].tolist() == [48.1374, 48.137] * 3


CONTRADICTIONS = {
    "day": (OPEN + ["31/12/2024"], {"day_first": False}, "31/12/2024, in which the day comes first, so --monthfirst"),
    "month": (["12/31/2024"], {"day_first": True}, "12/31/2024, in which the month comes first, so --dayfirst"),
    "point": (["1.5", "2.25"], {"decimal": ","}, "1.5, whose decimal sign is '.', so --decimal ','"),
    "comma": (["1,5", "2,25"], {"decimal": "."}, "1,5, whose decimal sign is ',', so --decimal '.'"),
    "thousands": (["1.5", "2.25"], {"thousands": "."}, "1.5, whose decimal sign is '.', so --thousands '.'"),
    "other thousands": (["1'234", "2"], {"thousands": ","}, "1'234, which is no number with --thousands ','"),
}


@pytest.mark.parametrize("cells, options, message", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_an_option_that_a_column_contradicts_is_refused(read, cells, options, message):
    with pytest.raises(DataError, match=rf"Column 'x' of .*table.csv' has {re.escape(message)}.*[Ll]eave it out"):
        column(read, cells, **options)


@pytest.mark.parametrize("options", [{"decimal": ";"}, {"thousands": "1"}, {"decimal": ",", "thousands": ","}], ids=str)
def test_signs_that_are_none_are_refused(read, options):
    with pytest.raises(DataError, match="sign"):
        column(read, ["1"], **options)


@pytest.mark.parametrize("write", ["to_parquet", "to_feather"])
def test_options_of_text_are_refused_where_columns_have_types(tmp_path, write):
    frame = pd.DataFrame({"x": [1.5]})
    getattr(frame, write)(tmp_path / "table")
    with pytest.raises(DataError, match=r"have types, so --decimal \(decimal=\) do not apply"):
        read_table(tmp_path / "table", decimal=",")
    with pytest.raises(DataError, match="apply to files. Leave them out"):
        Dataset(frame, day_first=True)


@pytest.mark.parametrize("suffix", [".xlsx", ".json", ".db"])
def test_text_in_typed_files_has_a_notation_too_and_their_numbers_stay(tmp_path, suffix):
    frame = pd.DataFrame({"amount": ["1.234,56", "12,5"] * 4, "x": [1.234, 2.5] * 4, "day": ["31/12/2024"] * 8})
    path = tmp_path / f"table{suffix}"
    match suffix:
        case ".xlsx":
            frame.to_excel(path, index=False)
        case ".json":
            path.write_text(frame.to_json(orient="records"))
        case _:
            with closing(sqlite3.connect(path)) as connection:
                frame.to_sql("t", connection, index=False)
    found = read_table(path)
    assert found["amount"].tolist() == [1234.56, 12.5] * 4
    assert found["x"].tolist() == [1.234, 2.5] * 4
    assert found["day"].tolist() == ["2024-12-31"] * 8


def test_a_stream_of_which_a_late_row_shows_the_order_is_an_error_not_wrong_dates(tmp_path, monkeypatch):
    monkeypatch.setattr("vae_anomaly.io.pieces.MOST_ROWS", 3)
    monkeypatch.setattr("vae_anomaly.io.csv._SNIFFED", 4)
    days = pd.date_range("2024-01-01", periods=40).strftime("%Y-%m-%d")
    schema = Schema.learn(pd.DataFrame({"day": days, "x": np.arange(40) ** 2}))
    rows = ["day,x", *["01/02/2024,1"] * 8]
    (tmp_path / "new.csv").write_text("\n".join([*rows, "13/02/2024,1"]))
    whole = read_whole(tmp_path / "new.csv").as_fitted(schema)
    assert whole["day"].tolist() == ["2024-02-01"] * 8 + ["2024-02-13"]
    with (
        pytest.warns(DataWarning, match="are read with the month first"),
        pytest.raises(DataError, match=r"Column 'day' has 13/02/2024, in which the day comes first.* Say --dayfirst"),
    ):
        list(Dataset(tmp_path / "new.csv").as_fitted(schema))
    pieces = pd.concat(list(Dataset(tmp_path / "new.csv", day_first=True).as_fitted(schema)))
    assert pieces["day"].tolist() == whole["day"].tolist()


PREAMBLES = {
    "delimiter named": "sep=;\na;b\n1;x\n2;y\n",
    "bars": "a|b\n1|x\n2|y\n",
    "comments": "# written by a logger\n# version 2, of 2024\na,b\n1,x\n2,y\n",
    "comment without a delimiter": "# exported\na,b\n1,x\n2,y\n",
    "blank lines": "\n  \n\na;b\n1;x\n2;y\n",
    "byte-order mark and name of the delimiter": "\ufeffsep=,\na,b\n1,x\n2,y\n",
}


@pytest.mark.parametrize("text", PREAMBLES.values(), ids=PREAMBLES)
def test_lines_before_the_names_are_skipped(read, text):
    found = read(text)
    assert {name: found[name].tolist() for name in found} == {"a": [1, 2], "b": ["x", "y"]}


@pytest.mark.parametrize("sign", ["^", "~", ":"])
def test_another_delimiter_is_named_and_read_where_a_first_line_names_it(read, sign):
    text = f"a{sign}b\n" + f"1{sign}x\n2{sign}y\n" * 2
    with pytest.warns(
        DataWarning, match=f"has one column, .*If {re.escape(repr(sign))} separates columns, add a first"
    ):
        read(text)
    assert read(f"sep={sign}\n{text}")["a"].tolist() == [1, 2, 1, 2]


def test_columns_separated_by_spaces_are_named_and_a_title_as_well(read):
    with pytest.warns(DataWarning, match=r"has one column, 'a b'. If ' ' separates columns, replace it by commas"):
        read("a  b\n" + "1   2\n10 20\n" * 2)
    with pytest.raises(DataError, match=r"2 fields in line 3, but 1 column names. .*if 'Shop' is a title, remove the"):
        read("Shop\n\na,b\n1,2\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read("full name\n" + "Ann Lee\nJo\n" * 2)


LINES = "1,2.5,a,2024-01-01\n2,3.5,b,2024-01-02\n3,,c,2024-01-03\n4,5.5,d,2024-01-04\n"
UNITS = {
    "two units": "mm,kg/m2,,",
    "with text beside them": "mm,°C,name,UTC",
    "one in brackets": ",[kg],,",
    "percent": "(mm),%,-,-",
}


@pytest.mark.parametrize("units", UNITS.values(), ids=UNITS)
def test_a_row_of_units_is_skipped_and_said(read, units):
    with pytest.warns(DataWarning, match=r"The first row of .*table.csv' has units \(.*\) and is skipped"):
        found = read(f"x,y,n,d\n{units}\n{LINES}")
    pd.testing.assert_frame_equal(found, read(f"x,y,n,d\n{LINES}"))


def test_a_row_of_units_and_numbers_is_named_and_read(read):
    with pytest.warns(DataWarning, match=r"has text \('mm', 'kg'\) in columns of numbers. If these are units, remove"):
        assert len(read("x,y,z\nmm,kg,1\n" + "1,2,3\n" * 4)) == 5


@pytest.mark.parametrize("row", ["?,?,a,", "unknown,n.a.,a,", "1,text,a,", "5,6,kg,", ",,mm,"], ids=str)
def test_other_first_rows_are_rows(read, row):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read(f"x,y,n,d\n{row}\n{LINES}")) == 5


def test_a_row_of_units_in_a_sheet_is_skipped_and_said(tmp_path):
    frame = pd.DataFrame({"x": ["mm", *range(9)], "y": ["kg", *np.arange(9) / 2]})
    frame.to_excel(tmp_path / "table.xlsx", index=False)
    with pytest.warns(DataWarning, match=r"has units \('mm', 'kg'\) and is skipped"):
        found = read_table(tmp_path / "table.xlsx")
    assert found["x"].tolist() == list(range(9))


def test_names_may_begin_with_a_hash(read):
    assert list(read("#chrom,start\n1,2\n3,4\n").columns) == ["#chrom", "start"]


def test_two_exports_of_one_table_are_the_same(read):
    rng, swap = np.random.default_rng(0), str.maketrans(",.", ".,")
    amounts = rng.uniform(10, 1e6, 40)
    days = pd.to_datetime("2024-01-01") + pd.to_timedelta(rng.integers(0, 365, 40), "D")
    rows = [(f"{amount:,.2f}", day) for amount, day in zip(amounts, days, strict=True)]
    american = [f'"${amount}",{day:%m/%d/%Y}' for amount, day in rows]
    european = [f"{amount.translate(swap)} €;{day:%d.%m.%Y}" for amount, day in rows]
    one, other = read("\n".join(["amount,day", *american])), read("\n".join(["amount;day", *european]))
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))
    np.testing.assert_array_equal(one["amount"], amounts.round(2))
    schema = Schema.learn(one.reset_index(drop=True))
    assert schema.kinds == ["number", "date"]


def test_a_short_row_is_filled_wherever_it_is(read):
    text = "a,b\n" + "".join("1,2\n" if row % 5 else f"{row}\n" for row in range(20)) + "7"
    found = read(text)
    assert found["a"].tolist() == [1 if row % 5 else row for row in range(20)] + [7]
    assert [math.isnan(value) for value in found["b"]] == [row % 5 == 0 for row in range(20)] + [True]


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "in pieces"])
def test_a_model_decides_how_the_text_of_its_columns_is_read(tmp_path, monkeypatch, streams):
    """Codes of which a file has only digits, numbers of which it has only text, and numbers in words of truth."""
    monkeypatch.setattr("vae_anomaly.io.pieces.MOST_ROWS", 3)
    rng = np.random.default_rng(0)
    known = pd.DataFrame({"code": rng.choice(["A3", "12", "B9", "7"], 60), "x": rng.normal(size=60)})
    schema = Schema.learn(known)
    (tmp_path / "new.csv").write_text("code,x\n12,1.5\n7,2.5\n12,x\n,1\n")
    if streams:
        frame = pd.concat(list(Dataset(tmp_path / "new.csv").as_fitted(schema)))
    else:
        frame = read_whole(tmp_path / "new.csv").as_fitted(schema)
    assert frame["code"].tolist()[:3] == ["12", "7", "12"]
    expected = pd.DataFrame({"code": ["12", "7", "12", None], "x": ["1.5", "2.5", "x", "1"]})
    np.testing.assert_array_equal(schema.encode(frame), schema.encode(expected))


def test_whole_numbers_of_parquet_are_the_codes_of_a_model(tmp_path):
    schema = Schema.learn(pd.DataFrame({"code": ["A3", "12", "B9", "7"] * 9, "x": range(0, 72, 2)}))
    table = pd.DataFrame({"code": [12, 7], "x": [1.0, 2.0]})
    table.to_parquet(tmp_path / "new.parquet")
    expected = schema.encode(table.assign(code=["12", "7"]))
    whole = read_whole(tmp_path / "new.parquet").as_fitted(schema)
    np.testing.assert_array_equal(schema.encode(whole), expected)
    streamed = next(iter(Dataset(tmp_path / "new.parquet").as_fitted(schema)))
    np.testing.assert_array_equal(schema.encode(streamed), expected)


def test_a_row_longer_than_a_block_is_named_shortly(tmp_path):
    (tmp_path / "long.csv").write_text("a,b\n1,2\n3," + "x" * 40_000_000 + "\n")
    with pytest.raises(DataError, match="has a row of more than 17 MB after row ") as error:
        read_table(tmp_path / "long.csv")
    assert len(str(error.value)) < 300
    (tmp_path / "long.csv").write_text("a,b," + "x" * 20_000_000 + "\n")
    with pytest.raises(DataError, match="of more than 17 MB after row 0") as error:
        read_table(tmp_path / "long.csv")
    assert len(str(error.value)) < 300


FILES = {  # files of one table, their column x, and what is said
    "decimal sign of the same column": ({"a": "x;n\n1.234;1\n", "b": "x;n\n1,5;1\n"}, [1234, 1.5], ""),
    "decimal sign of another column": ({"a": "x;n\n1.234;1\n", "b": "x;n\n2.345;1,5\n"}, [1234, 2345], ""),
    "a sign of its own": ({"a": "x;n\n1.234;2.5\n", "b": "x;n\n1,5;1\n"}, [1.234, 1.5], ""),
    "none shows it": (
        {"a": 'x,n\n"1,234",1\n', "b": "x;n\n2,345;1\n"},
        [1234, 2345],
        r"Numbers of 'x' \(1,234\) are read with a comma between thousands",
    ),
    "order of the same column": (
        {"a": "x,n\n01/02/2024,1\n", "b": "x,n\n31/12/2024,1\n"},
        ["2024-02-01", "2024-12-31"],
        "",
    ),
    "sign at the end of the same column": ({"a": "x,n\n5-,1\n3,1\n", "b": "x,n\n2.5-,1\n"}, [-5, 3, -2.5], ""),
    "year first of the same column": (
        {"a": "x,n\n23.01.05,1\n", "b": "x,n\n99.12.31,1\n"},
        ["2023-01-05", "1999-12-31"],
        r"Dates of 'x' \(23.01.05: 2023-01-05\) are read with years from",
    ),
    "no file shows the order": (
        {"a": "x,n\n01/02/2024,1\n", "b": "x;n\n03/04/2024;1\n"},
        ["2024-01-02", "2024-03-04"],
        r"Dates of 'x' \(01/02/2024\) are read with the month first",
    ),
}


@pytest.mark.parametrize("is_known", [False, True], ids=["new", "known to a model"])
@pytest.mark.parametrize("files, expected, said", FILES.values(), ids=FILES)
def test_files_of_one_table_have_one_meaning(tmp_path, files, expected, said, is_known):
    for name, text in files.items():
        (tmp_path / f"{name}.csv").write_text(text)
    days = pd.date_range("2024-01-01", periods=40).strftime("%Y-%m-%d")
    x = days if isinstance(expected[0], str) else np.arange(40) ** 2 / 7
    schema = Schema.learn(pd.DataFrame({"x": x, "n": np.arange(40) ** 2}))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        dataset = Dataset(tmp_path)
        pieces = list(dataset.as_fitted(schema) if is_known else dataset)
    assert pd.concat(pieces)["x"].tolist() == expected
    assert len(found) == bool(said)
    assert all(re.search(said, str(warning.message)) for warning in found)


def test_a_number_that_is_no_text_keeps_its_point_in_a_column_of_commas(tmp_path):
    rows = [{"a": "1,5", "b": "2.25"}, {"a": 1.234, "b": "2.5"}, {"a": "2,5", "b": 1.5}]
    pd.DataFrame(rows).to_json(tmp_path / "a.json", orient="records")
    assert read_table(tmp_path / "a.json").to_numpy().tolist() == [[1.5, 2.25], [1.234, 2.5], [2.5, 1.5]]


PEOPLE = pd.DataFrame(
    {
        "id": range(8),
        "net": ["1.234,56 €", "12,50 €", None, "950.000,00 €"] * 2,
        "day": ["31.12.2024", "1.2.2024", None, "5. März 2023"] * 2,
        "at": ["7:10 a.m.", "12:05 PM", "11:59 pm", None] * 2,
        "code": ["007", "12", "A3", "NA"] * 2,
        "kind": ["1.5", "2,5", "x", "y"] * 2,
    }
)
WRITERS = {
    "Parquet": ("a.parquet", pd.DataFrame.to_parquet),
    "Parquet of polars": (
        "a.parquet",
        lambda frame, path: pytest.importorskip("polars").DataFrame(frame).write_parquet(path),
    ),
    "Feather": ("a.feather", pd.DataFrame.to_feather),
}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize("name, write", WRITERS.values(), ids=WRITERS)
def test_text_of_files_with_types_is_read_as_people_write_it(tmp_path, monkeypatch, name, write, streams):
    """And kept columns stay as they stand in the file, and columns that are neither numbers nor dates as they are."""
    monkeypatch.setattr("vae_anomaly.io.pieces.MOST_ROWS", 2)
    write(PEOPLE, tmp_path / name)

    def read(**options: bool) -> pd.DataFrame:
        return (
            pd.concat(list(Dataset(tmp_path / name, **options))) if streams else read_table(tmp_path / name, **options)
        )

    found = read()
    plain = {"net": ["1234.56", "12.50", None, "950000.00"], "day": ["2024-12-31", "2024-02-01", None, "2023-03-05"]}
    plain["at"] = ["07:10", "12:05", "23:59", None]
    expected = PEOPLE.assign(**{column: cells * 2 for column, cells in plain.items()})
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected, check_dtype=False)
    assert read_whole(tmp_path / name).texts(["net"])["net"].dropna().tolist() == PEOPLE["net"].dropna().tolist()
    with pytest.raises(DataError, match=r"'net' .* whose decimal sign is ',', so --decimal '.' does not apply"):
        read(decimal=".")


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "in pieces"])
def test_a_model_knows_text_of_files_with_types(tmp_path, streams):
    days = pd.date_range("2024-01-01", periods=40)
    schema = Schema.learn(pd.DataFrame({"net": np.arange(40) ** 2 / 7, "day": days, "code": ["007", "12"] * 20}))
    cells = {"net": ["1.234", "1,5"], "day": ["03/04/2024"] * 2, "code": ["007", "12"]}
    pd.DataFrame(cells).to_parquet(tmp_path / "a.parquet")

    def read() -> pd.DataFrame:
        path = tmp_path / "a.parquet"
        return pd.concat(list(Dataset(path).as_fitted(schema))) if streams else read_whole(path).as_fitted(schema)

    with pytest.warns(DataWarning, match=r"Dates of 'day' \(03/04/2024\) are read with the day first"):
        found = read()
    expected = pd.DataFrame({"net": [1234, 1.5], "day": pd.to_datetime(["2024-04-03"] * 2), "code": ["007", "12"]})
    np.testing.assert_array_equal(schema.encode(found[expected.columns]), schema.encode(expected))


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize("name, write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("blank", [None, "", "NA"], ids=["missing", "empty", "marked"])
def test_text_of_which_the_first_rows_are_missing_is_read_as_people_write_it(tmp_path, name, write, streams, blank):
    written = ["1.234,56", "(12,50)", "3,75-", "1,00"] * 3
    frame = pd.DataFrame({"id": [f"A{row}" for row in range(1_212)], "net": [blank] * 1_200 + written})
    write(frame, tmp_path / name)
    found = pd.concat(list(Dataset(tmp_path / name))) if streams else read_table(tmp_path / name)
    assert found["net"].tolist()[1_200:] == ["1234.56", "-12.50", "-3.75", "1.00"] * 3
    with pytest.raises(DataError, match=r"'net' .* whose decimal sign is ',', so --decimal '.' does not apply"):
        read_table(tmp_path / name, decimal=".")


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "in pieces"])
def test_a_model_knows_that_signs_at_the_end_are_of_numbers(tmp_path, streams):
    schema = Schema.learn(pd.DataFrame({"net": np.arange(40) ** 2 / 7, "grade": ["1-", "2", "3-", "A"] * 10}))
    path = tmp_path / "a.csv"
    path.write_text("net,grade\n5-,1-\n(7),2\n3,3-\n")
    found = pd.concat(list(Dataset(path).as_fitted(schema))) if streams else read_whole(path).as_fitted(schema)
    assert found["net"].tolist() == [-5, -7, 3]
    assert found["grade"].tolist() == ["1-", "2", "3-"]


def test_typed_files_of_one_table_have_one_meaning(tmp_path):
    for name, cells in {"a": ["1.234", "2.345"], "b": ["1,5", "2,5"]}.items():
        pd.DataFrame({"x": cells}).to_parquet(tmp_path / f"{name}.parquet")
    assert pd.concat(list(Dataset(tmp_path)))["x"].tolist() == ["1234", "2345", "1.5", "2.5"]
