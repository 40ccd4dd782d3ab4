# One image for the server and for engine workers. On x86-64 pip takes torch's CUDA build here, which also runs without a GPU.
FROM python:3.13-slim

WORKDIR /frazil
COPY constraints.txt .
# torch first and by itself: a layer of gigabytes that only a new pin makes anew
RUN pip install --no-cache-dir "$(grep '^torch==' constraints.txt)" -c constraints.txt
COPY pyproject.toml README.md LICENSE hatch_build.py ./
COPY clients/web clients/web
COPY docs/openapi.json docs/
COPY migrations migrations
COPY server server
COPY tuner tuner
RUN pip install --no-cache-dir . -c constraints.txt

RUN useradd --create-home frazil
USER frazil
ENV FRAZIL_LOG_FORMAT=json
CMD ["frazil-server", "serve"]
