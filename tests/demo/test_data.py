import gzip

import numpy as np
import pytest

from jaxcompress.demo.data import bundled_digits, mnist_folder
from tests.demo.files import idx

PARTS = {"train": 40, "t10k": 10}


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for part, n in PARTS.items():
        images = generator.integers(0, 256, (n, 6, 5), dtype=np.uint8)
        labels = (np.arange(n) % 4).astype(np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def test_an_mnist_folder_is_split_and_scaled(folder):
    splits = mnist_folder(folder, seed=0)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (36, 4, 10)
    assert splits.train.images.shape[1:] == (6, 5, 1)
    assert splits.train.images.dtype == np.float32
    assert 0 <= splits.test.images.min() < splits.test.images.max() <= 1
    assert splits.classes == 4


def test_a_missing_file_is_named(folder):
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match="no file t10k-labels-idx1-ubyte"):
        mnist_folder(folder, seed=0)


def test_a_cut_file_is_refused(folder):
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"says shape \(.*40.*\), but holds 39 bytes"):
        mnist_folder(folder, seed=0)


def test_a_foreign_file_is_refused(folder):
    (folder / "train-labels-idx1-ubyte").write_bytes(b"not an IDX file")
    with pytest.raises(ValueError, match="is not an IDX file of rank 1"):
        mnist_folder(folder, seed=0)


def test_a_test_image_in_the_training_set_is_found(folder):
    train = np.frombuffer(
        gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8
    )
    stolen = np.resize(train, (10, 6, 5))
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(stolen)))
    with pytest.raises(ValueError, match="test"):
        mnist_folder(folder, seed=0)


def test_a_class_of_the_test_images_alone_is_refused(folder):
    labels = np.full(10, 4, np.uint8)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(labels))
    with pytest.raises(ValueError, match="test images have the label 4, and those to train on"):
        mnist_folder(folder, seed=0)


def test_the_bundled_digits_are_split_by_seed():
    pytest.importorskip("sklearn")
    fractions = (0.5, 0.1, 0.4)
    first, again = (bundled_digits(fractions=fractions, seed=1) for _ in range(2))
    other = bundled_digits(fractions=fractions, seed=2)
    assert len(first.train) + len(first.validation) + len(first.test) == 1797
    np.testing.assert_array_equal(first.test.images, again.test.images)
    assert not np.array_equal(first.test.images, other.test.images)
