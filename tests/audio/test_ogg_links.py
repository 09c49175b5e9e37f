"""Chains of Ogg files, by where their parts were put together."""

import io

from helpers import noise, sound_bytes

from aasp_features.audio.ogg_links import OggLink, ogg_links


def test_links_are_where_the_files_were_joined() -> None:
    kinds = {300_000: "VORBIS", 1: "OPUS", 9: "VORBIS"}
    files = [sound_bytes(noise(samples), 16000, "OGG", kind) for samples, kind in kinds.items()]
    ends = [sum(map(len, files[: count + 1])) for count in range(3)]
    links = ogg_links(io.BytesIO(b"".join(files)))
    assert links == [OggLink(start, stop, 1) for start, stop in zip([0, *ends], ends, strict=False)]


def test_damaged_pages_are_passed_over() -> None:
    first, second = sound_bytes(noise(100_000), 16000, "OGG", "VORBIS"), sound_bytes(noise(5), 16000, "OGG", "VORBIS")
    damaged = first[:9000] + bytes(8000) + first[17000:]
    assert [link.start for link in ogg_links(io.BytesIO(damaged + second))] == [0, len(first)]
    assert ogg_links(io.BytesIO(b"OggS" + bytes(10))) == []


def test_a_video_has_several_streams() -> None:
    """Each stream's first page comes before all other pages."""
    vorbis, opus = (sound_bytes(noise(9000), 16000, "OGG", kind) for kind in ("VORBIS", "OPUS"))
    (one, other) = (content.index(b"OggS", 4) for content in (vorbis, opus))
    video = vorbis[:one] + opus[:other] + vorbis[one:] + opus[other:]
    assert ogg_links(io.BytesIO(video)) == [OggLink(0, len(video), 2)]
