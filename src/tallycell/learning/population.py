"""Many small networks trained side by side as one LSTM, with noise on pre-activations, and slopes of gates and cells.

One LSTM of few units leaves most of a vector register empty, and most of the time of a call is the call: eight
networks of three units, as one LSTM whose recurrent weights are block-diagonal, take hardly longer than one. No network
sees another; all read the same strings and the same noise.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from tallycell.activations import activation
from tallycell.learning.languages import Sample
from tallycell.learning.trainable import Trainable, symbol_losses
from tallycell.lstm import LSTM
from tallycell.names import GATES


class Population(nn.Module):
    """Networks of one layer and one shape, trained side by side.

    Parameters
    ----------
    members
        The networks to begin with; their weights are copied, both biases as their sum.

    Attributes
    ----------
    weights
        All weights of each network, (member, weight).

    Examples
    --------
    >>> import numpy as np
    >>> from tallycell.learning.languages import language
    >>> _ = torch.manual_seed(0)
    >>> anbn = language("anbn")
    >>> members = [Trainable.of(anbn, hidden=3) for _ in range(8)]
    >>> sample = anbn.draw(np.random.default_rng(0), 16)
    >>> losses = Population(members).losses(sample)
    >>> bool(torch.allclose(losses[5], members[5].loss(sample), atol=1e-5))
    True
    """

    def __init__(self, members: Sequence[Trainable]) -> None:
        super().__init__()
        self._like = members[0]
        self.hidden = self._like.lstm.hidden_size
        self.symbols = len(self._like.alphabet)
        self.weights = nn.Parameter(torch.stack([parameters_to_vector(_trained(one)) for one in members]).detach())
        # Weights that are given at each run: only the sizes of this one count. Noise comes as input features.
        self._lstm = LSTM(self.symbols + self.noises, len(members) * self.hidden).requires_grad_(False)

    @property
    def noises(self) -> int:
        """Number of pre-activations of a network, each of which has its own noise."""
        return len(GATES) * self.hidden

    def forward(
        self,
        codes: Tensor,
        *,
        slope: float = 1.0,
        cell_slope: float = 1.0,
        noise: Float[Tensor, "time sequence pre"] | None = None,
    ) -> Float[Tensor, "member time sequence output"]:
        """Logits of all networks after each symbol.

        Parameters
        ----------
        codes
            Symbols as their indices, (time, sequence).
        slope
            Factor on every pre-activation: the gates' slope.
        cell_slope
            Factor on every cell where it is exposed: h = o tanh(cell_slope c).
        noise
            What is added to the pre-activations of each network, before the slope; the same for all networks. None for
            nothing.
        """
        x = self._like.inputs[codes]
        noise = x.new_zeros(*codes.shape, self.noises) if noise is None else noise
        count = len(self.weights)
        ih, hh, bias, readout, readout_bias = self._parts(self.weights)
        gates = (count * self.noises, -1)
        from_noise = torch.eye(self.noises).view(1, len(GATES), self.hidden, self.noises).expand(count, -1, -1, -1)
        blocks = hh.new_zeros(len(GATES), count, self.hidden, count, self.hidden)
        blocks.diagonal(dim1=1, dim2=3).copy_(hh.permute(1, 2, 3, 0))
        bias = bias.transpose(0, 1).flatten()
        weights = {
            "weight_ih_l0": slope * torch.cat([ih, from_noise], dim=3).transpose(0, 1).reshape(gates),
            "weight_hh_l0": slope * blocks.view(gates[0], count * self.hidden),
            "bias_ih_l0": slope * bias,
            "bias_hh_l0": torch.zeros_like(bias),
        }
        self._lstm.set_activation("hidden", activation("scaled_tanh", beta=cell_slope) if cell_slope != 1 else "tanh")
        h, _ = functional_call(self._lstm, weights, (torch.cat([x, noise], dim=2),))
        h = h.view(*h.shape[:2], count, self.hidden)
        return torch.einsum("tsmh,moh->mtso", h, readout) + readout_bias[:, None, None]

    def losses(
        self,
        sample: Sample,
        *,
        slope: float = 1.0,
        cell_slope: float = 1.0,
        noise: Float[Tensor, "time sequence pre"] | None = None,
    ) -> Float[Tensor, " member"]:
        """Loss of each network in nats a symbol that counts; the slopes and ``noise`` as of :meth:`forward`."""
        logits = self(torch.from_numpy(sample.codes).T.long(), slope=slope, cell_slope=cell_slope, noise=noise)
        mask = torch.from_numpy(sample.mask).T
        targets = torch.from_numpy(sample.targets).transpose(0, 1)[mask].expand(len(logits), -1, -1)
        counted = logits[:, mask]
        losses = symbol_losses(counted.flatten(0, 1), targets.flatten(0, 1), self._like.decision)
        return losses.view(counted.shape[:2]).mean(1)

    def clip_gradients(self, longest: float) -> None:
        """Shorten each network's gradient to a length."""
        gradient = self.weights.grad
        assert gradient is not None
        gradient *= (longest / gradient.norm(dim=1, keepdim=True).clamp(min=longest)).clamp(max=1.0)

    def alone(self, weights: Float[Tensor, " weight"], slope: float = 1.0) -> Trainable:
        """Give one network by itself, of its row of weights, the slope in what it gives."""
        like = self._like
        net = Trainable(like.alphabet, like.outputs, like.decision, hidden=self.hidden)
        with torch.no_grad():
            dict(net.named_parameters())["lstm.bias_hh_l0"].zero_()
            vector_to_parameters(weights.clone(), _own(net))  # which would share its memory
            for weight in _own(net)[:3]:
                weight *= slope
        return net

    def _parts(self, weights: Tensor) -> tuple[Tensor, ...]:
        """Weights of all networks by what they are, each (member, ...)."""
        gates, outputs = (len(GATES), self.hidden), len(self._like.outputs)
        shapes = ((*gates, self.symbols), (*gates, self.hidden), gates, (outputs, self.hidden), (outputs,))
        sizes = [torch.Size(shape).numel() for shape in shapes]
        parts = torch.split(weights, sizes, dim=1)
        return tuple(part.reshape(len(weights), *shape) for part, shape in zip(parts, shapes, strict=True))


_TRAINED = ("lstm.weight_ih_l0", "lstm.weight_hh_l0", "lstm.bias_ih_l0", "readout.weight", "readout.bias")


def _own(net: Trainable) -> list[Tensor]:
    """Give the weights of a network in the order in which they stand in a row."""
    weights = dict(net.named_parameters())
    return [weights[name] for name in _TRAINED]


def _trained(net: Trainable) -> list[Tensor]:
    """Give the same, all of the bias in the first of both."""
    ih, hh, bias, *readout = _own(net)
    return [ih, hh, bias + dict(net.named_parameters())["lstm.bias_hh_l0"], *readout]
