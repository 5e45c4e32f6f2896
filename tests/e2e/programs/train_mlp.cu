// Trains a small neural network to read noisy handwriting: 8 x 8 pixel digits, shifted, smudged and
// spotted, through 64 and 48 hidden units to 10 classes. Plain CUDA: nothing here knows Farcall.
//
//   train_mlp [EPOCHS]      exits with 0 when at least 94 of 100 unseen digits are read correctly
#include "tests/e2e/programs/expect.h"
#include "tests/e2e/programs/glyphs.h"

constexpr int kPixels = 64, kHidden1 = 64, kHidden2 = 48, kClasses = 10;
constexpr int kBatch = 100, kTraining = 4000, kTest = 1000;
constexpr float kRate = 0.03f, kMomentum = 0.9f, kGoal = 0.94f;

struct Layer {  // out = weights * in + bias, one row of weights for each output
  int inputs, outputs;
  float *weights, *weight_speed, *bias, *bias_speed;
  float *out, *delta;  // kTest rows, of which training uses kBatch
};

// One thread computes one output of one sample. The hidden layers cut off below zero.
__global__ void forward(Layer layer, const float* in, int samples, bool cut) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= samples * layer.outputs) return;
  const float* row = in + (i / layer.outputs) * layer.inputs;
  const float* weights = layer.weights + (i % layer.outputs) * layer.inputs;
  float sum = layer.bias[i % layer.outputs];
  for (int k = 0; k < layer.inputs; k++) sum += row[k] * weights[k];
  layer.out[i] = cut ? fmaxf(sum, 0.0f) : sum;
}

// Softmax and cross entropy: one thread for each sample; delta = probability - truth.
__global__ void judge(Layer last, const int* labels, int samples, float* loss, int* correct) {
  const int sample = blockIdx.x * blockDim.x + threadIdx.x;
  if (sample >= samples) return;
  const float* scores = last.out + sample * kClasses;
  int best = 0;
  for (int c = 1; c < kClasses; c++) best = scores[c] > scores[best] ? c : best;
  float sum = 0;
  for (int c = 0; c < kClasses; c++) sum += __expf(scores[c] - scores[best]);
  const int label = labels[sample];
  for (int c = 0; c < kClasses; c++) {
    const float probability = __expf(scores[c] - scores[best]) / sum;
    last.delta[sample * kClasses + c] = probability - (c == label ? 1.0f : 0.0f);
  }
  loss[sample] = __logf(sum) - (scores[label] - scores[best]);
  correct[sample] = best == label;
}

// The error that `above` passes down to the outputs of `below`.
__global__ void backward(Layer above, Layer below, int samples) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= samples * below.outputs) return;
  const int sample = i / below.outputs, unit = i % below.outputs;
  float sum = 0;
  for (int k = 0; k < above.outputs; k++) {
    sum += above.delta[sample * above.outputs + k] * above.weights[k * above.inputs + unit];
  }
  below.delta[i] = below.out[i] > 0.0f ? sum : 0.0f;
}

// One thread for each weight, and one more in each row for the bias; a fixed order of sums.
__global__ void learn(Layer layer, const float* in, int samples) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const int width = layer.inputs + 1, unit = i / width, input = i % width;
  if (unit >= layer.outputs) return;
  const bool is_bias = input == layer.inputs;
  float slope = 0;
  for (int s = 0; s < samples; s++) {
    slope +=
        layer.delta[s * layer.outputs + unit] * (is_bias ? 1.0f : in[s * layer.inputs + input]);
  }
  const int at = is_bias ? unit : unit * layer.inputs + input;
  float* speed = (is_bias ? layer.bias_speed : layer.weight_speed) + at;
  *speed = kMomentum * *speed - kRate / static_cast<float>(samples) * slope;
  (is_bias ? layer.bias : layer.weights)[at] += *speed;
}

Layer make_layer(int inputs, int outputs, Random& random) {
  std::vector<float> weights(inputs * outputs);
  const float spread = std::sqrt(6.0f / static_cast<float>(inputs));
  for (float& weight : weights) weight = (random.unit() * 2 - 1) * spread;
  const std::vector<float> zeros(kTest * outputs + inputs * outputs);
  Layer layer{inputs, outputs};
  layer.weights = to_device(weights);
  for (float** part :
       {&layer.weight_speed, &layer.bias, &layer.bias_speed, &layer.out, &layer.delta}) {
    *part = to_device(zeros);
  }
  return layer;
}

struct Network {
  Layer layers[3];
  float* loss;
  int* correct;
};

int blocks(int threads) { return (threads + 127) / 128; }

void run(Network& net, const float* images, const int* labels, int samples) {
  const float* in = images;
  for (int l = 0; l < 3; l++) {
    forward<<<blocks(samples * net.layers[l].outputs), 128>>>(net.layers[l], in, samples, l < 2);
    in = net.layers[l].out;
  }
  judge<<<blocks(samples), 128>>>(net.layers[2], labels, samples, net.loss, net.correct);
}

void train(Network& net, const float* images, const int* labels) {
  run(net, images, labels, kBatch);
  for (int l = 2; l > 0; l--) {
    backward<<<blocks(kBatch * net.layers[l - 1].outputs), 128>>>(net.layers[l], net.layers[l - 1],
                                                                  kBatch);
  }
  for (int l = 0; l < 3; l++) {
    const int threads = net.layers[l].outputs * (net.layers[l].inputs + 1);
    learn<<<blocks(threads), 128>>>(net.layers[l], l == 0 ? images : net.layers[l - 1].out, kBatch);
  }
}

int main(int argc, char** argv) {
  const int epochs = argc > 1 ? std::atoi(argv[1]) : 15;
  Random random(2024);
  const Digits training = draw_digits(kTraining, random), test = draw_digits(kTest, random);
  Network net{{make_layer(kPixels, kHidden1, random), make_layer(kHidden1, kHidden2, random),
               make_layer(kHidden2, kClasses, random)}};
  net.loss = to_device(std::vector<float>(kTest));
  net.correct = to_device(std::vector<int>(kTest));
  float *images = to_device(training.pixels), *test_images = to_device(test.pixels);
  int *labels = to_device(training.labels), *test_labels = to_device(test.labels);

  cudaDeviceProp device{};
  CUDA_OK(cudaGetDeviceProperties(&device, 0));
  std::printf("training a 64-64-48-10 network on %d digits, device: %s\n", kTraining, device.name);
  float accuracy = 0;
  for (int epoch = 1; epoch <= epochs; epoch++) {
    for (int first = 0; first < kTraining; first += kBatch) {
      train(net, images + first * kPixels, labels + first);
    }
    run(net, test_images, test_labels, kTest);
    CUDA_OK(cudaGetLastError());
    float loss = 0;
    int correct = 0;
    for (float one : to_host(net.loss, kTest)) loss += one / kTest;
    for (int one : to_host(net.correct, kTest)) correct += one;
    accuracy = static_cast<float>(correct) / kTest;
    std::printf("epoch %2d   loss %.3f   accuracy %5.1f %%  %.*s\n", epoch, loss, accuracy * 100,
                static_cast<int>(accuracy * 40), "########################################");
    std::fflush(stdout);
  }
  show_digit(test, 3);
  std::printf("%s: %.1f %% of %d unseen digits read correctly (goal %.0f %%)\n",
              accuracy >= kGoal ? "done" : "missed", accuracy * 100, kTest, kGoal * 100);
  return accuracy >= kGoal ? 0 : 1;
}
