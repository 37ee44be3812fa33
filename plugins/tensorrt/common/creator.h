// Which of TensorRT's plugin interfaces this build implements: IPluginV2DynamicExt for TensorRT 8.5 to 9, IPluginV3 from 10 on.
// PSSDET_PLUGIN_GENERATION may be set from outside, to compile the V2 wrapper against headers that have both.
#pragma once

#include <NvInferRuntime.h>

#include <memory>

#if !defined(PSSDET_PLUGIN_GENERATION)
#if NV_TENSORRT_MAJOR >= 10
#define PSSDET_PLUGIN_GENERATION 3
#else
#define PSSDET_PLUGIN_GENERATION 2
#endif
#endif

namespace pssdet::tensorrt {

#if PSSDET_PLUGIN_GENERATION == 3
using Creator = nvinfer1::IPluginCreatorInterface;
#else
using Creator = nvinfer1::IPluginCreator;
#endif

// Of every plugin of this library.
constexpr const char *kNamespace = "pssdet", *kVersion = "1";

struct Description;

// The creator that TensorRT gets, of this generation (plugin_v2.cpp, plugin_v3.cpp). It and its plugins refer to the description.
std::unique_ptr<Creator> make_creator(const Description& description);

}  // namespace pssdet::tensorrt
