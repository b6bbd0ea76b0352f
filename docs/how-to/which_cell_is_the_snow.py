# %% [markdown]
# # Which cell is the snow?
#
# You have trained an LSTM on weather and runoff. Nobody told it about snow, and still it predicts the flood in April.
# Does one of its cells keep a snow pack? Do this:
#
# 1. Compute the snow yourself, at the same dates, with any model that you trust.
# 2. Give it to `read_units` as a *quantity*, with its unit.
# 3. Read under *What is followed best* which cells go along with it, how closely, and how many millimetres one unit of
#    the cell stands for.
#
# This page does so for two basins in the east of the United States: Narraguagus River in Maine, with a lasting snow
# pack, and Marsh Creek in Pennsylvania, where snow comes and goes. It trains a small LSTM in a few seconds and finds
# its snow cell. You need a network of your own to do the same, and nothing else that is special to this page.
#
# ## The data
#
# Daymet weather and USGS discharge as the CAMELS data set has them, for 2000 to 2002. Three things to mind: the
# catchment area (m²) stands in the third line of the weather, discharge is in cubic feet a second, and a discharge
# below 0 means that there is none. Weather has a column `swe`, which is 0 throughout in these files; so it cannot be
# asked for the snow.

# %%
import calendar
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
import xarray as xr

import tallycell as tc
from tallycell.errors import InputError
from tallycell.plot import Span, plot_unit, save_picture

shared = Path(os.environ.get("TALLYCELL_TEST_DATA", Path(__file__).parents[3] / "shared"))
camels = shared / "data" / "camels-us"
if not camels.is_dir():
    raise SystemExit(f"skipped: there is no {camels}; set TALLYCELL_TEST_DATA to the folder that has data/camels-us")

BASINS = {"01022500": "Narraguagus River", "01547700": "Marsh Creek"}
UNITS = {"prcp": "mm/day", "tmax": "°C", "tmin": "°C", "srad": "W/m²", "vp": "Pa"}
CUBIC_FOOT = 0.3048**3  # m³


def read_basin(number):
    """Weather and discharge (mm/day) of a basin, by date."""
    (path,) = camels.glob(f"basin_mean_forcing/daymet/{number}_*.txt")
    area = float(path.read_text().splitlines()[2])
    weather = pd.read_csv(path, sep=r"\s+", skiprows=3)
    weather.index = pd.to_datetime({"year": weather.Year, "month": weather.Mnth, "day": weather.Day})
    weather.columns = [name.split("(")[0] for name in weather.columns]  # prcp(mm/day)
    flow = pd.read_csv(
        camels / f"usgs_streamflow/{number}_streamflow_qc.txt",
        sep=r"\s+", header=None, names=["basin", "year", "month", "day", "discharge", "flag"],
    )  # fmt: skip
    flow.index = pd.to_datetime(flow[["year", "month", "day"]])
    measured = flow.discharge.where(flow.discharge >= 0)
    return weather.loc["2000":"2002", list(UNITS)], (measured * CUBIC_FOOT * 86_400 / area * 1000).loc["2000":"2002"]


weather, discharge = zip(*map(read_basin, BASINS), strict=True)
dates = weather[0].index.rename("time")
labels = {"sequence": list(BASINS.values()), "time": dates}
raw = xr.DataArray(np.stack(weather), dims=("sequence", "time", "feature"), coords=labels | {"feature": list(UNITS)})
discharge = xr.DataArray(np.stack(discharge), coords=labels)
print(f"{raw.sizes['time']} days; a year of each basin, in mm:")
for basin in BASINS.values():
    wet, flow = (365.25 * float(one.sel(sequence=basin).mean()) for one in (raw.sel(feature="prcp"), discharge))
    print(f"  {basin:<17}  precipitation {wet:5.0f}, runoff {flow:4.0f}")

# %% [markdown]
# ## The snow and the soil water, by a degree-day model
#
# Precipitation falls as snow on days with a mean below 0 °C. On the others 2.5 mm of it melt for each degree. Rain and
# melt fill a soil that holds 150 mm at most, and evaporation takes from it, the more the warmer and wetter it is. This
# is rough, and it does not have to be more: you ask whether a cell goes along with it.

# %%
MELT = 2.5  # mm a day and degree
SOIL = 150.0  # mm
EVAPORATION = 0.18  # mm a day and degree, from a full soil


def run_degree_days(precipitation, temperature):
    """Snow and soil water (mm) after each day; (sequence, time)."""
    snow, soil = np.zeros_like(precipitation), np.zeros_like(precipitation)
    lying, stored = np.zeros(len(precipitation)), np.full(len(precipitation), SOIL / 2)
    for day in range(precipitation.shape[1]):
        fallen, warmth = precipitation[:, day], temperature[:, day]
        melted = np.minimum(lying, MELT * np.maximum(warmth, 0))
        lying = lying + np.where(warmth < 0, fallen, 0) - melted
        lost = EVAPORATION * np.maximum(warmth, 0) * stored / SOIL
        stored = np.clip(stored + np.where(warmth < 0, 0, fallen) + melted - lost, 0, SOIL)
        snow[:, day], soil[:, day] = lying, stored
    return snow, soil


mean = (raw.sel(feature="tmax") + raw.sel(feature="tmin")) / 2
snow, soil = run_degree_days(raw.sel(feature="prcp").to_numpy(), mean.to_numpy())
quantities = xr.Dataset(
    {
        "snow": (("sequence", "time"), snow, {"units": "mm"}),
        "soil water": (("sequence", "time"), soil, {"units": "mm"}),
    },
    coords=labels,
)
print(quantities["snow"].groupby("time.year").max().astype(int).to_pandas())

# %% [markdown]
# ## The network
#
# One layer of 16 units reads the weather of the day and gives the discharge of the day. It learns from 2000 and 2001,
# in stretches of 365 days of which the first 90 only warm it up; 2002 is the test. Some noise on the weather and
# dropout keep it from learning two years by heart. NSE is Nash and Sutcliffe's efficiency: 1 is perfect, 0 is as good
# as the mean.

# %%
torch.set_num_threads(1)  # small matrices: more threads cost more than they bring
torch.manual_seed(2)
TRAINING, STRETCH, WARM_UP = 731, 365, 90  # days

center = raw[:, :TRAINING].mean(("sequence", "time"))
spread = raw[:, :TRAINING].std(("sequence", "time"))
x = ((raw - center) / spread).astype(np.float32)


class RainfallRunoff(torch.nn.Module):
    def __init__(self, features, hidden):
        super().__init__()
        self.lstm = torch.nn.LSTM(features, hidden, batch_first=True)
        self.dropout = torch.nn.Dropout(0.4)
        self.head = torch.nn.Linear(hidden, 1)
        with torch.no_grad():
            self.lstm.bias_hh_l0[hidden : 2 * hidden] = 1.0  # begin with forget gates that keep most

    def forward(self, x):
        h, _ = self.lstm(x)
        return self.head(self.dropout(h))[..., 0]


inputs, target = torch.from_numpy(x.to_numpy()), torch.from_numpy(discharge.to_numpy()).float()
model = RainfallRunoff(x.sizes["feature"], hidden=16)
untrained = {name: weight.clone() for name, weight in model.lstm.state_dict().items()}
optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
slower = torch.optim.lr_scheduler.MultiStepLR(optimiser, [150], gamma=0.3)
basin_spread = target[:, :TRAINING].std(1)
for _ in range(250):
    basin, begin = torch.randint(0, len(BASINS), (16,)), torch.randint(0, TRAINING - STRETCH + 1, (16,))
    days = begin[:, None] + torch.arange(STRETCH)
    read = inputs[basin[:, None], days]
    predicted = model(read + 0.15 * torch.randn_like(read))
    error = (predicted - target[basin[:, None], days])[:, WARM_UP:] / basin_spread[basin, None]
    optimiser.zero_grad()
    error.square().nanmean().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    slower.step()
model.eval()
with torch.no_grad():
    predicted = discharge.copy(data=model(inputs).numpy())
for years, part in (("2000 and 2001", slice(WARM_UP, TRAINING)), ("2002", slice(TRAINING, None))):
    measured, here = discharge[:, part], predicted[:, part]
    nse = 1 - ((here - measured) ** 2).mean("time") / ((measured - measured.mean("time")) ** 2).mean("time")
    print(f"NSE in {years}:", ", ".join(f"{name} {value:.2f}" for name, value in nse.to_series().items()))

# %% [markdown]
# Two years are little to learn from, and the test shows it. A network that you would use has read decades of hundreds
# of basins. It has what is needed here: it was never told of snow, and has to remember it.
#
# ## Ask it
#
# Give `x` the names of its features, its dates and its basins, as an `xarray.DataArray` has them. Coordinates `center`,
# `spread` and `units` beside `feature` say how it was scaled; then sentences speak of mm/day and °C. With `model=` the
# reading is compared with networks of this shape that learned nothing.

# %%
x = x.assign_coords(
    center=("feature", center.data), spread=("feature", spread.data), units=("feature", list(UNITS.values()))
)
trace = tc.record_trace(model.lstm, x)
reading = tc.read_units(trace, quantities=quantities, model=model.lstm)


def show(reading, *headings):
    """Print the sections of a reading that begin with one of these headings."""
    for section in str(reading).split("\n\n"):
        if section.startswith(headings):
            print(section, end="\n\n")


show(reading, "Roles", "What is followed best", "How long it remembers")

# %% [markdown]
# `print(reading)` shows the whole page. Most cells leak, and so they do in networks of this shape that learned nothing:
# no sign of learning. What was learned is what some cells go along with. Without learning none follows the snow as
# closely; for soil water there is no such difference. This cell follows the snow best:

# %%
cell = reading.followers("snow")[0]
place = 1 + reading.followers().index(cell)
print(f"Unit {cell.label}, {cell.role}, number {place} of {len(reading.followers())} that follow something:\n")
print(textwrap.fill(cell.sentence, 110))

# %% [markdown]
# How to read it:
#
# - **Up at prcp above ... while tmin is below ...**: two conditions that bring a step up together, snowfall. They were
#   found on the first basin, and on the second they bring it more often than either alone.
# - **Fills ..., empties ...**: the months in which it moves away from 0 and back.
# - **One unit of the cell is so many mm** of snow, by least squares. Multiply the cell by it, and you have the snow
#   that the network reckons with, up to a constant.
# - **r is not flattered.** The quantity is chosen on the first basin, and r is quoted on the second, which has less
#   snow.
# - **The sign of a cell has no meaning.** Train again from another seed, and a cell may count the snow downwards; then
#   r is negative, and it goes *down* when snow falls.
# - **Stores** and **forgets within ...**: a store that leaks slowly. How fast is told where it holds something.
#
# Do not take the sentence's word for it. Here is the mean of each month: the snow, the cell in millimetres as its
# sentence has them and counted from its August, and how much of the cell the forget gate keeps from one day to the
# next.

# %%
here = trace.isel(layer=0, direction=0).sel(unit=cell.unit)
stores = xr.Dataset({"snow": quantities["snow"], "cell": here["c"] * cell.follows.per_unit, "kept": 100 * here["f"]})
for basin in BASINS.values():
    months = stores.sel(sequence=basin).groupby("time.month").mean()
    months["cell"] -= months["cell"].sel(month=8)
    r = float(xr.corr(stores["snow"].sel(sequence=basin), here["c"].sel(sequence=basin)))
    print(f"{basin}, r = {r:+.2f}")
    print("           ", *(f"{name[:3]:>4}" for name in calendar.month_name[1:]))
    for name, units in {"snow": "mm", "cell": "mm", "kept": "%"}.items():
        print(f"   {name}, {units:<2}", *(f"{value + 0.0:4.0f}" for value in months[name].to_numpy().round()))

# %% [markdown]
# The season is right, and in Marsh Creek the amount. The cell keeps about 95 % a day in the cold and a third in summer:
# it is a store in winter only. In Maine it stops at a third of the snow of late winter, since what is written leaks
# away: two years did not teach this network how deep snow can lie. You would not see that in r.
#
# ## Was it learned, and is it used?
#
# Be careful with r. Snow comes every winter, and a cell that only averages the temperature of the last weeks goes along
# with it. Here is the same network before its training, of all its cells the one closest to the snow:

# %%
before = RainfallRunoff(x.sizes["feature"], hidden=16)
before.lstm.load_state_dict(untrained)
for when, one in (("before", tc.record_trace(before.lstm, x)), ("after", trace)):
    closest = np.abs(xr.corr(one["c"], quantities["snow"], "time")).max(("layer", "direction", "unit"))
    print(f"{when} training:", ", ".join(f"|r| = {r:.2f} in {basin}" for basin, r in closest.to_series().items()))

# %% [markdown]
# So training brings the cell nearer to the snow, but much of r was there before. What the network *does* with the cell
# says more. Take it away: hold the cell at 0 on every day (`tc.Hold`), leave all else as it is, and look at the
# discharge.

# %%
held = tc.record_trace(model.lstm, x, hold=tc.Hold("c", 0.0, units=[cell.unit]))
h = torch.from_numpy(held["h"].isel(layer=0, direction=0).transpose("sequence", "time", "unit").to_numpy())
with torch.no_grad():
    without = discharge.copy(data=model.head(h)[..., 0].numpy())
change = (without - predicted).groupby("time.month").mean()
print("discharge without the cell less that with it, mm/day in the mean of each month")
print("                  ", *(f"{name[:3]:>5}" for name in calendar.month_name[1:]))
for basin in BASINS.values():
    print(f"{basin:<18} ", *(f"{value + 0.0:5.1f}" for value in change.sel(sequence=basin).to_numpy().round(1)))

# %% [markdown]
# Without the cell Maine has about 1.2 mm less of discharge on each day of March and April, when the snow melts, and
# Marsh Creek half of that in March, when its snow does. No other month loses as much. That is what makes it the snow,
# more than any correlation.

# %% [markdown]
# ## Which cells matter?
#
# `tc.measure_effects` takes away every cell in turn and says what the NSE loses. `tc.load(model)` takes the module as
# it is, with the linear layer behind the LSTM. The discharge is the target, by its dates and basins; the interval comes
# from blocks of days drawn again and again.

# %%
whole = tc.load(model)
effects = tc.measure_effects(whole, x, targets=discharge, kinds=("zero", "mean"))
print(effects)

# %% [markdown]
# The NSE is that of all days of both basins. *Held at 0* takes away what the cell knows and the level it stands at,
# *held at its mean* only what it knows. Cells that nothing explains well matter too: what is easy to read and what is
# needed are two questions. Here the snow cell is the answer to both:

# %%
place = 1 + [one.label for one in effects.most(None)].index(cell.label)
print(f"Unit {cell.label} is number {place} of {len(effects.labels)}: {effects.of(cell.label).sentence()}.")

# %% [markdown]
# When does it matter? `tc.explain_output` makes of the discharge of one day an exact sum over cells and days, with the
# gates as they were (*the account*). Here is what the snow cell adds in it, in the mean of every third day of a month
# of 2001, and its share of all that cells add and take away. Below stands what the discharge loses on the same days
# when the cell is held at 0: this lets all that follows from it change as well, in the gates of the other cells too.

# %%
for month in ("April", "August"):
    days = np.flatnonzero((dates.year == 2001) & (dates.month_name() == month))[::3]
    for basin, name in enumerate(BASINS.values()):
        by_unit = np.stack(
            [tc.explain_output(whole, x[basin], int(day), 0).by_unit().to_numpy().ravel() for day in days]
        )
        share = np.abs(by_unit[:, cell.unit]).sum() / np.abs(by_unit).sum()
        lost = float((predicted - without)[basin, days].mean())
        print(
            f"{month:<6}  {name:<17}  in the account {by_unit[:, cell.unit].mean():+.2f} mm/day, "
            f"{share:3.0%} of all cells; without it {-lost:+.2f} mm/day"
        )

# %% [markdown]
# In April the cell raises the discharge of Maine, whose snow melts then, and in August it has none to give. The account
# alone understates it: most of what the cell does, it does through the gates of other cells, which is in the second
# number only. A share says nothing of size: in August little is added up in all.

# %% [markdown]
# ## Dates are obeyed
#
# A series goes by its dates, never by its position. One that is shifted would be correlated all the same, so it is
# refused:

# %%
shifted = quantities.assign_coords(time=dates + pd.Timedelta(days=100))
try:
    tc.read_units(trace, quantities=shifted)
except InputError as error:
    print(textwrap.fill(str(error), 110))

# %% [markdown]
# A gap is no error. Where your series says nothing (NaN), the day is left out, and the reading says how many remain. A
# snow gauge that fails on every fifth day, for instance:

# %%
works = xr.DataArray(np.arange(len(dates)) % 5 != 0, coords={"time": dates})
gauge = quantities[["snow"]].where(works)
gauge["snow"].attrs["units"] = "mm"
gappy = tc.read_units(trace, quantities=gauge)
show(gappy, "What is followed best")
print("pairs:", dict(gappy.pairs))

# %% [markdown]
# ## The same from the command line
#
# It needs no Python. Write a table for each basin, as measured, with its columns **in the order of training** (the file
# of weights does not know their names); the snow of all basins, by the names of these tables; and how the weather was
# scaled.

# %%
scale = {name: {"mean": float(center.sel(feature=name)), "std": float(spread.sel(feature=name))} for name in UNITS}
command = "tallycell read model.pt --array narraguagus.csv --array marsh.csv --quantities snow.nc --scale scale.json"
with TemporaryDirectory() as folder:
    torch.save(model.lstm.state_dict(), Path(folder, "model.pt"))
    Path(folder, "scale.json").write_text(json.dumps(scale))
    for table, name in zip(weather, ("narraguagus.csv", "marsh.csv"), strict=True):
        heads = [f"{column} [{UNITS[column]}]" for column in table]
        table.to_csv(Path(folder, name), header=heads, index_label="date", encoding="utf-8")
    quantities.assign_coords(sequence=["narraguagus", "marsh"]).to_netcdf(Path(folder, "snow.nc"), engine="h5netcdf")
    done = subprocess.run(
        [sys.executable, "-m", *command.split()], cwd=folder, capture_output=True, encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
print(f"$ {command}")
show(done.stdout or done.stderr, "What is followed best", "tallycell", "error", "Usage")

# %% [markdown]
# ## A picture for a talk
#
# One winter in Maine: what the cell forgets and writes each day, and the cell over the snow that it follows. (The extra
# `plot`.)

# %%
winter = np.flatnonzero((x["time"] >= np.datetime64("2000-10-01")) & (x["time"] < np.datetime64("2001-07-01")))
picture = plot_unit(
    trace,
    cell,
    quantities=quantities,
    spans=Span(int(winter[0]), int(winter[-1]) + 1, title="Narraguagus River, Maine"),
)
save_picture(picture, Path(__file__).parent.parent / "pictures" / "snow_cell.png")

# %% [markdown]
# ![The snow cell over one winter in Maine, with the snow that a degree-day model has](../pictures/snow_cell.png)
#
# ## What to try next
#
# - `tallycell read ... --unit 0.5` (your cell's label) draws the cell with the dates, the weather and the snow under
#   it.
# - Ask for other stores: groundwater, a lake, leaf area. Whatever you can compute for each day is a quantity.
# - Give the snow of another model, or measured, and see which of them the cell goes along with best.
# - A run folder of NeuralHydrology opens with `tc.load(folder)`. `tc.open_table(model, "weather.csv")` then picks the
#   columns by name and scales them as in training.
# - [The rules of a reading](../reading.md) say what each role and each figure means.
