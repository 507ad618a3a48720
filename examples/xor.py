"""
Learning XOR
============

Two hidden rectifiers learn XOR, which no linear model can.

The exclusive or of two bits is the textbook's first example of why a network needs a hidden layer:
whatever its weights, a linear model predicts one half for each of the four points.
"""

import numpy as np

from nbnet import MLPClassifier

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y = np.array([0, 1, 1, 0])


def main():
    # Two units are the fewest that can do it, so most starts end in a local minimum: this one
    # does not.
    model = MLPClassifier(
        hidden_layer_sizes=(2,), activation="relu", solver="lbfgs", alpha=0.0, random_state=6
    ).fit(X, y)
    print("x1 x2  xor  predicted  probability of 1")
    for row, truth, predicted, probability in zip(
        X, y, model.predict(X), model.predict_proba(X)[:, 1], strict=True
    ):
        print(f"{row[0]:.0f}  {row[1]:.0f}   {truth}    {predicted}          {probability:.6f}")
    assert np.array_equal(model.predict(X), y), "XOR was not learned"


if __name__ == "__main__":
    main()
