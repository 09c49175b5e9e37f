"""Find when each class occurs: ``python examples/detect_events.py CLASSIFIER RECORDING > labels.txt``.

``aasp-train classify SOUNDS --out CLASSIFIER`` makes the classifier, from one folder of sounds per class. Include a
class for silence or any other background of the recording. The output is a label track for Audacity (File, Import,
Labels).
"""

from argparse import ArgumentParser

from aasp_features import AaSPClassifier

parser = ArgumentParser(usage="detect_events.py CLASSIFIER RECORDING > labels.txt", description=__doc__)
parser.add_argument("classifier")
parser.add_argument("recording")
given = parser.parse_args()
classifier = AaSPClassifier.from_pretrained(given.classifier)
for event in classifier.events(given.recording, hop=0.08):
    print(f"{event.start:.6f}\t{event.end:.6f}\t{event.label}")
