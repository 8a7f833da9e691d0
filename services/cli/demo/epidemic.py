"""Made-up COVID figures of the real file's shape: 198 countries, 284 series, 816 days, seeded.

The shape includes the real file's quirks: a name with a comma, a country without recoveries, recoveries that end
for everyone on one day, weekly reporting, a few restatements downwards.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import numpy as np

FIRST_DAY, DAYS = date(2020, 1, 22), 816
RECOVERED_ENDS = (date(2021, 8, 5) - FIRST_DAY).days
SEED = 20220416
HEADER = "Date,Country/Region,Province/State,Confirmed,Recovered,Deaths\n"

# Most cases first.
_NAMES = (
    "US|India|Brazil|France|Germany|United Kingdom|Russia|Korea, South|Italy|Turkey|Spain|Vietnam|Argentina|"
    "Netherlands|Iran|Japan|Colombia|Indonesia|Poland|Mexico|Ukraine|Australia|Malaysia|Austria|Thailand|"
    "Israel|Belgium|Czechia|South Africa|Portugal|Canada|Philippines|Peru|Chile|Switzerland|Greece|Denmark|"
    "Romania|Sweden|Iraq|Serbia|Bangladesh|Hungary|Slovakia|Jordan|Georgia|Pakistan|Ireland|Kazakhstan|"
    "Norway|Singapore|Morocco|Bulgaria|Croatia|Cuba|Lebanon|Tunisia|Slovenia|Finland|Nepal|Belarus|Bolivia|"
    "Lithuania|United Arab Emirates|Uruguay|Ecuador|Costa Rica|Guatemala|Latvia|Azerbaijan|Panama|"
    "Saudi Arabia|Sri Lanka|Paraguay|Kuwait|Burma|Dominican Republic|New Zealand|Bahrain|Estonia|Venezuela|"
    "Egypt|Libya|Mongolia|Ethiopia|Moldova|Honduras|Armenia|Oman|Bosnia and Herzegovina|Qatar|Kenya|Zambia|"
    "Cyprus|North Macedonia|Botswana|Albania|Algeria|Nigeria|Zimbabwe|Uzbekistan|Montenegro|Luxembourg|"
    "Mozambique|China|Laos|Kyrgyzstan|Iceland|Afghanistan|Maldives|Uganda|El Salvador|Ghana|Namibia|"
    "Trinidad and Tobago|Brunei|Cambodia|Jamaica|Rwanda|Cameroon|Angola|Malta|Senegal|Malawi|Suriname|"
    "Eswatini|Barbados|Fiji|Guyana|Madagascar|Sudan|Mauritania|Bhutan|Belize|Syria|Cabo Verde|Gabon|"
    "Papua New Guinea|Seychelles|Andorra|Burundi|Mauritius|Togo|Guinea|Tanzania|Bahamas|Lesotho|Haiti|Mali|"
    "Benin|Somalia|Saint Lucia|Timor-Leste|Burkina Faso|Nicaragua|South Sudan|Tajikistan|Liechtenstein|"
    "San Marino|Equatorial Guinea|Djibouti|Grenada|Central African Republic|Gambia|Greenland|Yemen|Dominica|"
    "Monaco|Eritrea|Niger|Guinea-Bissau|Comoros|Sierra Leone|Liberia|Chad|Sao Tome and Principe|"
    "Antigua and Barbuda|Solomon Islands|Saint Kitts and Nevis|Tonga|Vanuatu|Palau|Kiribati|Samoa|Nauru|"
    "Marshall Islands|Micronesia|Holy See|Ivory Coast|Congo (Brazzaville)|Congo (Kinshasa)|Kosovo|"
    "West Bank and Gaza|Saint Vincent and the Grenadines|Taiwan|Diamond Princess|MS Zaandam|Antarctica"
)
COUNTRIES = tuple(_NAMES.split("|"))
# Series of the countries that report by province.
PROVINCES = {
    "Australia": 8, "Canada": 16, "China": 34, "Denmark": 3, "France": 12, "Netherlands": 5, "New Zealand": 3,
    "United Kingdom": 13,
}  # fmt: skip
WITHOUT_RECOVERED = "Canada"


def series_names() -> list[tuple[str, str, float]]:
    """Return (country, province, share of the country's cases) of every series, sorted as the real file is."""
    names: list[tuple[str, str, float]] = []
    for country in COUNTRIES:
        count = PROVINCES.get(country, 1)
        weights = np.array([1 / (n + 1) for n in range(count)])
        for n, share in enumerate(weights / weights.sum()):
            names.append((country, "" if count == 1 else f"Province {n + 1:02}", float(share)))
    return sorted(names)


def covid_csv() -> Iterator[str]:
    """Yield the file in pieces: the header, then a series at a time."""
    random = np.random.default_rng(SEED)
    days = [(FIRST_DAY + timedelta(days=n)).isoformat() for n in range(DAYS)]
    rank = {country: n + 1 for n, country in enumerate(COUNTRIES)}
    yield HEADER
    for country, province, share in series_names():
        total = 80_000_000 / rank[country] ** 1.1 * random.uniform(0.85, 1.05) * share
        confirmed, recovered, deaths = _curves(random, total)
        name = f'"{country}"' if "," in country else country
        known = [""] * DAYS if country == WITHOUT_RECOVERED else list(map(str, recovered.tolist()))
        figures = zip(days, confirmed.tolist(), known, deaths.tolist(), strict=True)
        yield "".join(f"{day},{name},{province},{c},{r},{d}\n" for day, c, r, d in figures)


def _curves(random: np.random.Generator, total: float) -> tuple[Any, Any, Any]:
    """Return cumulative confirmed, recovered and deaths of a series, shape (DAYS,) each."""
    day = np.arange(DAYS)
    waves = random.integers(3, 7)
    centres = np.sort(random.uniform(50, DAYS - 20, waves))
    centres[-1] = random.uniform(DAYS - 40, DAYS + 15)  # there is always something going on
    widths, heights = random.uniform(16, 42, waves), random.gamma(2.0, 1.0, waves) * np.linspace(0.3, 1.6, waves)
    daily = sum(h * np.exp(-(((day - c) / w) ** 2)) for c, w, h in zip(centres, widths, heights, strict=True))
    weekday = np.array([1.1, 1.25, 1.15, 1.05, 1.0, 0.75, 0.7])[(day + FIRST_DAY.weekday()) % 7]
    daily = daily * weekday * random.gamma(20, 1 / 20, DAYS)
    cumulative = np.cumsum(daily)
    confirmed = np.floor(cumulative / cumulative[-1] * total).astype(np.int64)
    fatality = np.linspace(random.uniform(0.015, 0.03), random.uniform(0.002, 0.005), DAYS)
    deaths = np.floor(np.cumsum(_later(np.diff(confirmed, prepend=0), 14) * fatality)).astype(np.int64)
    recovered = np.floor(_later(confirmed, 21) * random.uniform(0.9, 1.01)).astype(np.int64)
    recovered[RECOVERED_ENDS:] = 0
    if random.random() < 0.15:  # the publisher takes cases back
        start = int(random.integers(200, DAYS - 60))
        confirmed[start : start + 40] -= confirmed[start] // 200
    return confirmed, recovered, deaths


def _later(values: Any, days: int) -> Any:
    return np.concatenate((np.zeros(days, values.dtype), values[:-days]))
