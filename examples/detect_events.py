"""When is which class heard in a recording? ``python examples/detect_events.py CLASSIFIER RECORDING > labels.txt``.

CLASSIFIER is a folder that ``aasp-train classify SOUNDS --out CLASSIFIER`` made, from a folder of sounds for each
class; let silence, or whatever else the recording holds, be one of them. What is printed is a label track: Audacity
imports it (File, Import, Labels).
"""

import sys

from aasp_features import AaSPClassifier
from aasp_features.events import audacity_labels

classifier = AaSPClassifier.from_pretrained(sys.argv[1])
print(audacity_labels(classifier.events(sys.argv[2], hop=0.08)), end="")
