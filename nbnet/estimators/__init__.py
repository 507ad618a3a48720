"""The estimators: scikit-learn's interface around a network and its training.

An estimator validates the data, encodes the targets (`targets`), builds the network that its
parameters describe (`base`), trains it by a recipe (`nbnet.training`) and publishes the result as
attributes.
"""

from nbnet.estimators.mlp import MLPClassifier, MLPRegressor, from_sklearn

__all__ = ["MLPClassifier", "MLPRegressor", "from_sklearn"]
