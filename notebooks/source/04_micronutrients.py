# %% [markdown]
# # 4. Micronutrients: from samples to a map with its uncertainty
#
# Iron, manganese, zinc and vanadium by random forest (Huo et al. 2026). This notebook shows which scores to trust, maps zinc with spread, interval and
# area of applicability, ranks what drives it, and ends with the differences between land-cover classes.
#
# Covariates are real; **the samples are simulated** from a known truth (`tpsoil.demo`), three replicates at each of 526 sites, so every score can be
# compared with the truth, which no field study can do.

# %%
import numpy as np
import pandas as pd

import tpsoil
from tpsoil import covariates, forest
from tpsoil.demo import simulated_samples, true_elements
from tpsoil.reports import figures
from tpsoil.sample import open_sample

sample = open_sample()
terrain = covariates.terrain_attributes(sample["elevation"])
cube = sample.assign(slope=terrain["slope"], general_curvature=terrain["general_curvature"]).compute()
truth = true_elements(cube)
samples = simulated_samples(truth)
samples.head(4)

# %%
tidy = samples.melt(id_vars=["site", "replicate", "longitude", "latitude"], var_name="element", value_name="value")
tidy.attrs["simulated"] = True
figures.element_histograms(tidy)

# %% [markdown]
# ## Are the sites representative?

# %%
sites = samples.groupby("site", as_index=False).first()
features = ["elevation", "slope", "general_curvature", "mean_annual_temperature", "annual_precipitation", "ndvi", "ndvi_min"]
at_sites = tpsoil.sample_cube(cube[features], sites.rename(columns={"longitude": "lon", "latitude": "lat"}))
soil = cube[features].where(cube["soil_mask"] == 1).to_dataframe()[features].dropna()
both = pd.concat([at_sites[features].melt(var_name="covariate").assign(source="sites"),
                  soil.melt(var_name="covariate").assign(source="area")])
figures.representativeness(both[both["covariate"].isin(["elevation", "annual_precipitation", "ndvi"])])

# %% [markdown]
# ## Random folds are over-optimistic
# Replicates of one site share a pixel. Random folds put some of them into training and predict the others, so the score is too high. Folds by
# site and by spatial block avoid this.

# %%
design = samples.rename(columns={"longitude": "lon", "latitude": "lat"})
design[features] = tpsoil.sample_cube(cube[features], design[["lon", "lat"]])[features]
trained = forest.train(design, "zinc", features, "site", folds=["random", "group", "block"], coordinates=("lon", "lat"),
                       block_size=3.0, n_folds=5, trees=150, seed=1)
trained

# %%
compared = trained.predictions["block"].copy()
compared.attrs["simulated"] = True
figures.observed_predicted(compared, name="zinc", title="Zinc, folds by spatial block")

# %% [markdown]
# ## Maps: mean and spread between trees
# Lazy, tile by tile; features are matched by name.

# %%
maps = trained.compile().predict_cube(cube).compute()
zinc = maps["mean"].where(cube["soil_mask"] == 1).assign_attrs(maps["mean"].attrs | {"simulated": True, "long_name": "topsoil zinc", "units": "mg kg-1"})
figures.map_layer(zinc, mask=cube["soil_mask"], hillshade=cube["elevation"])

# %%
spread = maps["sd"].where(cube["soil_mask"] == 1).assign_attrs(maps["sd"].attrs | {"simulated": True})
figures.map_layer(spread, mask=cube["soil_mask"])

# %% [markdown]
# Against the truth, which here is known:

# %%
figures.difference_map(truth["zinc"], zinc.assign_attrs(units="mg kg-1"), relative=True, band=10, names=("truth", "map"))

# %% [markdown]
# ## Intervals
# The spread between trees is not a prediction interval. Quantile forests, corrected on held-out folds, are, as their coverage shows.

# %%
coverage = forest.coverage_table(trained)
coverage.attrs["simulated"] = True
figures.interval_coverage(coverage)

# %% [markdown]
# ## Where the model does not apply
# Cells unlike every training site lie outside the area of applicability (Meyer and Pebesma 2021).

# %%
area = forest.area_of_applicability(trained, cube).compute()
figures.applicability_map(area.assign(zinc=zinc), "zinc", mask=cube["soil_mask"])

# %% [markdown]
# ## What drives it
# Permute one covariate at held-out sites and see how much the error rises: the importance of the covariate at places without samples, with a 95 % interval over
# folds. Beside it %IncMSE of R's randomForest, the papers' measure: it uses out-of-bag rows, whose sites are in training through their other replicates,
# and is divided by its standard error, so a small effect that is the same in every tree can rank above a large one. Curvature is not in the truth.

# %%
from tpsoil import micronutrients

ranking = micronutrients.importance(trained, folds="group", seed=1)
ranking.attrs["simulated"] = True
figures.importance_ranking(ranking)

# %%
ranking[["held_out_increase", "low", "high", "increase_mse", "mean_increase"]].round(1)

# %% [markdown]
# Accumulated local effects: the response of the forest to each covariate, without combinations that do not occur. The truth rises with rain and
# falls off with cold; curvature is not in it.

# %%
effects = [micronutrients.accumulated_local_effects(trained, name, bins=15) for name in features[:6]]
for table in effects:
    table.attrs["simulated"] = True
figures.accumulated_local_effects(effects, units="mg kg-1")

# %% [markdown]
# ## Do land-cover classes differ?
# Replicates are not independent, so the test is on site means; classes that share a letter do not differ (Piepho's letters).

# %%
cover = tpsoil.sample_cube(cube[["land_cover"]], design[["lon", "lat"]])["land_cover"]
names = figures.class_names(cube["land_cover"])
grouped = design[["site", "zinc"]].assign(land_cover=[names[int(code)] for code in cover])
common = grouped["land_cover"].value_counts().loc[lambda n: n >= 30].index
grouped = grouped[grouped["land_cover"].isin(common)]
comparison = micronutrients.compare_groups(grouped, "zinc", "land_cover", site="site")
means = grouped.groupby(["site", "land_cover"], as_index=False)["zinc"].mean()
means.attrs["simulated"] = True
figures.group_comparison(means, "zinc", "land_cover", letters=comparison.groups)
