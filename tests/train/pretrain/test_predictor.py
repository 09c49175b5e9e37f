"""The predictor: queries do not see each other, padding of the memory is not read."""

import torch

from aasp_features.train.pretrain.predictor import Predictor


def test_each_query_is_answered_alone_and_padding_is_not_read() -> None:
    torch.manual_seed(0)
    predictor = Predictor(dim=16, heads=2, depth=2, mlp_ratio=4)
    student, places, queries = torch.randn(3, 7, 16), torch.randn(3, 7, 16), torch.randn(3, 5, 16)
    valid = torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    together = predictor(student, places, queries, valid[:, None, None])
    for view, tokens in enumerate([7, 4, 1]):
        for query in range(5):
            one = slice(query, query + 1)
            alone = predictor(student[view, None, :tokens], places[view, None, :tokens], queries[view, None, one], None)
            torch.testing.assert_close(together[view, query], alone[0, 0], atol=1e-5, rtol=1e-4)
    spoilt = student.masked_fill(~valid[..., None], 1e3)
    assert torch.equal(predictor(spoilt, places, queries, valid[:, None, None]), together)
