"""How others load the same file into the same PostgreSQL: dlt's upsert, and pandas with COPY and ON CONFLICT."""

import io
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from bench.figures import Figures
from bench.stage import fresh_database
from shared.adapters.postgres import PostgresSession
from shared.settings import Settings

DLT = "dlt upsert, one layer, no checks"
DLT_AGAIN = "dlt upsert, same file again"
PANDAS = "pandas, to_csv, COPY, ON CONFLICT"
PANDAS_AGAIN = "pandas, same file again"
DLT_REQUIREMENT = "dlt[postgres]==1.31.0"
_SCRIPT = Path(__file__).with_name("dlt_upsert.py")
_NAMES = ["record_date", "country", "province", "confirmed", "recovered", "deaths"]


def measure_peers(settings: Settings, data: Path, folder: Path, figures: Figures) -> None:
    """Measure both peers once; dlt is installed into a virtual environment under `folder` at the first call."""
    (final,) = (data / "covid").glob("time-series-*.csv")
    with fresh_database(settings) as stage:
        for step in (PANDAS, PANDAS_AGAIN):
            figures.add(step, pandas_seconds(stage.session, final))
        _assert_whole(stage.session, "public.covid")
    with fresh_database(settings) as stage:
        assert stage.settings.database_url is not None
        address = stage.settings.database_url.get_secret_value()
        command = [str(_dlt_python(folder)), str(_SCRIPT), address, str(final), str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
        for step, seconds in zip((DLT, DLT_AGAIN), done.stdout.split(), strict=True):
            figures.add(step, float(seconds))
        _assert_whole(stage.session, "peer.covid")


def _assert_whole(session: PostgresSession, table: str) -> None:
    """Make sure that a peer did the whole work: rows, confirmed and deaths summed over the file."""
    found = session.rows(f"SELECT count(*), sum(confirmed)::bigint, sum(deaths)::bigint FROM {table}")
    session.rollback()
    assert found == [(231_744, 118_939_403_514, 2_261_860_890)], f"{table} holds {found}"


def _dlt_python(folder: Path) -> Path:
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        uv = [sys.executable, "-m", "uv", "--quiet"]
        subprocess.run([*uv, "venv", "--python", sys.executable, str(folder / "venv")], check=True)
        subprocess.run(
            [*uv, "pip", "install", "--python", str(python), DLT_REQUIREMENT, "pyarrow", "pandas"], check=True
        )
    return python


def pandas_seconds(session: PostgresSession, path: Path) -> float:
    """Upsert the file the way such pipelines usually do; the table is there from the second call on."""
    columns = ", ".join(_NAMES)
    session.execute(
        "CREATE TABLE IF NOT EXISTS public.covid (record_date date, country text, province text, confirmed bigint,"
        " recovered bigint, deaths bigint, PRIMARY KEY (record_date, country, province))"
    )
    session.commit()
    began = time.monotonic()
    frame = pd.read_csv(path).set_axis(_NAMES, axis="columns")
    frame["record_date"] = pd.to_datetime(frame["record_date"])
    frame["province"] = frame["province"].fillna("")
    frame = frame.astype(dict.fromkeys(_NAMES[3:], "Int64"))
    text = io.StringIO()
    frame.to_csv(text, index=False, header=False)
    session.execute("CREATE TEMP TABLE arriving ON COMMIT DROP AS SELECT * FROM public.covid WITH NO DATA")
    session.copy_in("COPY arriving FROM STDIN (FORMAT csv, FORCE_NOT_NULL (province))", [text.getvalue().encode()])
    session.execute(
        f"INSERT INTO public.covid ({columns}) SELECT {columns} FROM arriving"
        " ON CONFLICT (record_date, country, province) DO UPDATE"
        " SET confirmed = excluded.confirmed, recovered = excluded.recovered, deaths = excluded.deaths"
    )
    session.commit()
    return time.monotonic() - began
