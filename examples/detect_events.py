"""Find when each class occurs: ``python examples/detect_events.py CLASSIFIER RECORDING > labels.txt``.

``aasp-train classify SOUNDS --out CLASSIFIER`` makes the classifier, from one folder of sounds per class. Include a
class for silence or any other background of the recording. The output is a label track for Audacity (File, Import,
Labels).
"""

import sys

from aasp_features import AaSPClassifier
from aasp_features.events import audacity_labels

classifier = AaSPClassifier.from_pretrained(sys.argv[1])
print(audacity_labels(classifier.events(sys.argv[2], hop=0.08)), end="")
