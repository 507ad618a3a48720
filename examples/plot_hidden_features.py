"""
Hidden layers as features
=========================

A network that has learned to classify has learned features: its last hidden layer makes the
classes fit for a linear output. ``transform`` hands them out, so that a model is a step of a
pipeline like any other transformer. (Goodfellow et al., 2016, chapter 6: learning the features.)
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from nbnet import MLPClassifier

X, y = load_digits(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)

# %%
# In a pipeline
# -------------
# Nearest neighbours in two dimensions: the principal components of the pixels, and those of the
# hidden features. The network is fitted with the labels of the training half, then transforms.

network = MLPClassifier(
    hidden_layer_sizes=(64, 16),
    activation="tanh",
    alpha=0.01,
    learning_rate_init=0.003,
    tol=0.001,
    random_state=0,
)
steps = {"pixels": [], "hidden features": [network]}
pipelines = {
    name: make_pipeline(MinMaxScaler(), *step, PCA(2), KNeighborsClassifier()).fit(X_train, y_train)
    for name, step in steps.items()
}
figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
for ax, (name, pipeline) in zip(axes, pipelines.items(), strict=True):
    accuracy = pipeline.score(X_test, y_test)
    print(f"two components of the {name}: accuracy {accuracy:.3f} on the held-out half")
    points = ax.scatter(*pipeline[:-1].transform(X_test).T, c=y_test, cmap="tab10", s=8)
    ax.set(title=f"{name}: 5 nearest neighbours, {accuracy:.0%}", xticks=[], yticks=[])
    ax.set(xlabel="first component", ylabel="second component")
axes[1].legend(*points.legend_elements(), title="digit", loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %%
# What the units tell apart
# -------------------------
# The features have names, and come as a data frame where that is asked for. The mean of each over
# the digits of one class:

scale, model, *_ = pipelines["hidden features"].named_steps.values()
hidden = model.set_output(transform="pandas").transform(scale.transform(X_test))
means = hidden.groupby(y_test.to_numpy()).mean()
print(means.iloc[:, :4].round(2))

figure, ax = plt.subplots(figsize=(8, 4.4), layout="constrained")
image = ax.imshow(means, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
ax.set_xticks(range(means.shape[1]), model.get_feature_names_out(), rotation=90)
ax.set_yticks(means.index)
ax.set(ylabel="digit", title="mean activation in the last hidden layer")
figure.colorbar(image)
plt.show()
