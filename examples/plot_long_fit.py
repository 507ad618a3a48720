"""
A long fit, watched
===================

A network that learns slowly should be left alone, and end by itself when nothing is gained any
more. Here one learns scikit-learn's handwritten digits with stochastic gradient descent at a small
learning rate. Callbacks record the fit, say now and then how far it is, and end it.

On a terminal, ``verbose=1`` would show the progress in one line, with the time that is left at
most. This page was made without a terminal, so a callback prints every hundredth epoch.
"""

# %%
# Three callbacks
# ---------------
#
# `EarlyStopping` ends the fit when the score on rows held out has not risen for 60 epochs in a row:
# the curve is noisy, and ten would end it far too soon. With ``early_stopping=True`` the estimator
# holds out these rows and keeps the weights of the best epoch; its own patience is switched off.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from nbnet import MLPClassifier
from nbnet.callbacks import Callback, EarlyStopping, LearningCurve

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, stratify=y, random_state=0)


class EveryHundredth(Callback):
    """Says how far the fit is."""

    def after_epoch(self, estimator, epoch):
        """Print a line, now and then."""
        if epoch.n_iter % 100 == 0:
            print(f"epoch {epoch.n_iter:4}: loss {epoch.loss:.4f}, score {epoch.score:.4f}")


curve = LearningCurve()
stopping = EarlyStopping("score", patience=60)
model = MLPClassifier(
    hidden_layer_sizes=(64,),
    activation="tanh",
    solver="sgd",
    learning_rate_init=0.003,
    max_iter=5000,
    early_stopping=True,
    validation_fraction=0.2,
    n_iter_no_change=np.inf,
    random_state=0,
)
model.set_callbacks(curve, stopping, EveryHundredth())
model.fit(X_train, y_train)
seconds = sum(curve.history["seconds"])
print(f"ended after {model.n_iter_} of {model.max_iter} epochs, in {seconds:.1f} s")
print(f"accuracy on rows never seen: {model.score(X_test, y_test):.4f}")
assert stopping.stopped
assert model.n_iter_ < model.max_iter

# %%
# The learning curve
# ------------------
#
# The training loss goes on falling to the end. The score rises in ever smaller steps: from the
# dotted line on there was nothing better, and the weights of that epoch are those of the model.

display = curve.plot(log_scale=True)
best = int(np.argmax(curve.history["score"])) + 1
for panel in display.axes_.flat:
    panel.axvline(best, color="black", linestyle=":")
display.axes_.flat[1].set_ylim(0.8, 1)
print(f"best epoch: {best}, with score {max(curve.history['score']):.4f}")
assert model.n_iter_ == best + stopping.patience

# %%
# How soon is too soon?
# ---------------------
#
# The recorded scores tell where other patience would have ended the same fit, and with what score.

score = np.array(curve.history["score"])
rises = np.flatnonzero(score > np.maximum.accumulate(np.r_[-np.inf, score[:-1]])) + 1
for patience in (2, 5, 10, 20, 40, 60):
    waits = np.diff(np.r_[rises, len(score) + patience])
    last = rises[np.argmax(waits > patience)]
    ends, best_score = last + patience, score[last - 1]
    print(f"patience {patience:2}: ends after epoch {ends:4}, best score {best_score:.4f}")

figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.step(rises, score[rises - 1], where="post")
ax.set(xlabel="epoch", ylabel="best validation score so far", ylim=(0.8, 1))
